// The C interface as a WebAssembly module: what a machine without exceptions, files and a system
// needs beside it. vaexprs.mjs calls the functions of vaexprs.h and knows the layouts below.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <new>

#include "vaexprs.h"

static_assert(offsetof(vaexprs_options, seed) == 8 && offsetof(vaexprs_options, n_cells) == 24 &&
              offsetof(vaexprs_options, conditions) == 32 && sizeof(vaexprs_options) == 64 &&
              offsetof(vaexprs_options, library) == 48);
static_assert(sizeof(vaexprs_condition) == 8 && sizeof(vaexprs_design_row) == 16 &&
              offsetof(vaexprs_design_row, n_cells) == 8);
static_assert(offsetof(vaexprs_block, n_cells) == 8 && offsetof(vaexprs_block, data) == 16 &&
              offsetof(vaexprs_block, library) == 40 && sizeof(vaexprs_block) == 48);

extern "C" {

/// Throws an error of the host. The module is not to be used after it: no destructor has run.
[[noreturn]] __attribute__((import_module("host"), import_name("fail"))) void fail(const char*);

void* __cxa_allocate_exception(std::size_t size) noexcept {
    return std::malloc(size);
}

void __cxa_free_exception(void* memory) noexcept {
    std::free(memory);
}

[[noreturn]] void __cxa_throw(void* thrown, void*, void (*)(void*)) {
    // All that the core throws is a std::exception, which lies at its beginning.
    fail(static_cast<std::exception*>(thrown)->what());
}

/// There is one thread, and it ends with the module.
int __cxa_thread_atexit(void (*)(void*), void*, void*) noexcept {
    return 0;
}

// The system's functions that the C library names. There is no system: each fails, and
// no variable is set. (zig's own fd_close is left: the host says the same.)

constexpr std::int32_t kNotSupported = 52;  // ENOSYS of WASI

std::int32_t __imported_wasi_snapshot_preview1_environ_sizes_get(std::int32_t n_variables,
                                                                 std::int32_t n_bytes) {
    *reinterpret_cast<std::uint32_t*>(n_variables) = *reinterpret_cast<std::uint32_t*>(n_bytes) = 0;
    return 0;
}

std::int32_t __imported_wasi_snapshot_preview1_environ_get(std::int32_t, std::int32_t) {
    return kNotSupported;
}

std::int32_t __imported_wasi_snapshot_preview1_fd_seek(std::int32_t, std::int64_t, std::int32_t,
                                                       std::int32_t) {
    return kNotSupported;
}

std::int32_t __imported_wasi_snapshot_preview1_fd_write(std::int32_t, std::int32_t, std::int32_t,
                                                        std::int32_t) {
    return kNotSupported;
}

[[noreturn]] void __imported_wasi_snapshot_preview1_proc_exit(std::int32_t) {
    fail("the generator stopped.");
}

}  // extern "C"

void* operator new(std::size_t size) {
    void* memory = std::malloc(size > 0 ? size : 1);
    if (memory == nullptr) fail("there is not enough memory.");
    return memory;
}

void operator delete(void* memory) noexcept {
    std::free(memory);
}

void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}
