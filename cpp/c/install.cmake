# Where the C interface goes: an install prefix, the wheel, or the build folder itself. In each
# find_package(vaexprs) finds vaexprs::vaexprs (shared) and vaexprs::static.
set(VAEXPRS_PACKAGE lib/cmake/vaexprs)
include(CMakePackageConfigHelpers)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/vaexprsConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
file(WRITE ${PROJECT_BINARY_DIR}/vaexprsConfig.cmake
  "include(CMakeFindDependencyMacro)\n"
  "find_dependency(Threads)\n"
  "include(\${CMAKE_CURRENT_LIST_DIR}/vaexprsTargets.cmake)\n")
configure_file(cpp/c/vaexprs.pc.in ${PROJECT_BINARY_DIR}/vaexprs.pc @ONLY)
install(TARGETS vaexprs vaexprs_core vaexprs_options EXPORT vaexprsTargets
  LIBRARY DESTINATION ${VAEXPRS_PREFIX}lib
  ARCHIVE DESTINATION ${VAEXPRS_PREFIX}lib)
install(FILES cpp/include/vaexprs.h DESTINATION ${VAEXPRS_PREFIX}include)
install(EXPORT vaexprsTargets NAMESPACE vaexprs::
  DESTINATION ${VAEXPRS_PREFIX}${VAEXPRS_PACKAGE})
install(FILES ${PROJECT_BINARY_DIR}/vaexprsConfig.cmake
  ${PROJECT_BINARY_DIR}/vaexprsConfigVersion.cmake
  DESTINATION ${VAEXPRS_PREFIX}${VAEXPRS_PACKAGE})
install(FILES ${PROJECT_BINARY_DIR}/vaexprs.pc DESTINATION ${VAEXPRS_PREFIX}lib/pkgconfig)
export(EXPORT vaexprsTargets NAMESPACE vaexprs:: FILE ${PROJECT_BINARY_DIR}/vaexprsTargets.cmake)
