// A test is a function that calls CHECK; a program of tests is TEST_MAIN over a list of them.

#pragma once

#include <cstdio>
#include <exception>

namespace vaexprs::tests {

inline int failures = 0;

inline void check(bool holds, const char* text, const char* file, int line) {
    if (holds) return;
    ++failures;
    std::fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, text);
}

struct Test {
    const char* name;
    void (*run)();
};

template <int kSize>
int run_all(const Test (&tests)[kSize]) {
    for (const Test& test : tests) {
        const int before = failures;
        try {
            test.run();
        } catch (const std::exception& error) {
            ++failures;
            std::fprintf(stderr, "%s threw %s\n", test.name, error.what());
        }
        std::printf("%-44s %s\n", test.name, failures == before ? "passed" : "FAILED");
    }
    return failures == 0 ? 0 : 1;
}

}  // namespace vaexprs::tests

#define CHECK(condition) ::vaexprs::tests::check((condition), #condition, __FILE__, __LINE__)
