// For WebAssembly, built without exceptions and threads: a throw prints its message and ends the
// program.

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

extern "C" {

void* __cxa_allocate_exception(std::size_t size) noexcept {
    return std::malloc(size);
}

void __cxa_free_exception(void* memory) noexcept {
    std::free(memory);
}

[[noreturn]] void __cxa_throw(void* thrown, void*, void (*)(void*)) {
    // All that the core throws is a std::exception, which lies at its beginning.
    std::fprintf(stderr, "vaexprs: %s\n", static_cast<std::exception*>(thrown)->what());
    std::abort();
}

/// There is one thread, and it ends with the program.
int __cxa_thread_atexit(void (*)(void*), void*, void*) noexcept {
    return 0;
}

}  // extern "C"
