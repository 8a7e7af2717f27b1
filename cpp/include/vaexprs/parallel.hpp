#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <vector>

#if !defined(VAEXPRS_NO_THREADS)
#include <thread>
#endif

namespace vaexprs {

#if defined(VAEXPRS_NO_THREADS)

/// Calls work(first, last, part) on `n_parts` contiguous ranges of rows, one after the other.
template <class Work>
void parallel_rows(std::size_t n_rows, std::size_t n_parts, const Work& work) {
    for (std::size_t part = 0; part < n_parts; ++part)
        work(n_rows * part / n_parts, n_rows * (part + 1) / n_parts, part);
}

#else

/// Threads that are joined at the end of the scope. (std::jthread is not everywhere yet.)
class JoiningThreads : public std::vector<std::thread> {
  public:
    JoiningThreads() = default;
    JoiningThreads(const JoiningThreads&) = delete;
    JoiningThreads& operator=(const JoiningThreads&) = delete;
    ~JoiningThreads() {
        for (std::thread& thread : *this)
            thread.join();
    }
};

/// Calls work(first, last, part) on `n_parts` contiguous ranges of rows, each in a thread.
///
/// Part 0 runs in the calling thread, so that one part starts no thread at all. What the lowest
/// failing part throws is thrown again here, once all are done.
template <class Work>
void parallel_rows(std::size_t n_rows, std::size_t n_parts, const Work& work) {
    std::vector<std::exception_ptr> failures(n_parts);
    const auto run = [&](std::size_t part) noexcept {
        try {
            work(n_rows * part / n_parts, n_rows * (part + 1) / n_parts, part);
        } catch (...) {
            failures[part] = std::current_exception();
        }
    };
    {
        JoiningThreads threads;
        threads.reserve(n_parts - 1);
        for (std::size_t part = 1; part < n_parts; ++part)
            threads.emplace_back(run, part);
        run(0);
    }
    for (const std::exception_ptr& failure : failures) {
        if (failure) std::rethrow_exception(failure);
    }
}

#endif

/// How many parts to make of `n_rows` rows: one per thread, but none empty.
inline std::size_t parts_of(std::size_t n_rows, unsigned n_threads) {
    return std::clamp<std::size_t>(n_threads, 1, std::max<std::size_t>(n_rows, 1));
}

/// Calls work(i) for each row, in threads.
template <class Work>
void for_each_row(std::size_t n_rows, unsigned n_threads, const Work& work) {
    parallel_rows(n_rows, parts_of(n_rows, n_threads),
                  [&](std::size_t first, std::size_t last, std::size_t) {
                      for (std::size_t i = first; i < last; ++i)
                          work(i);
                  });
}

}  // namespace vaexprs
