#include "vaexprs/random.hpp"

#include "vaexprs/gamma.hpp"
#include "vaexprs/kernels.hpp"
#include "vaexprs/parallel.hpp"
#include "vaexprs/uniform.hpp"

namespace vaexprs {

namespace {

/// Calls work(i) for each row, in threads.
template <class Work>
void for_each_row(std::size_t n_cells, const Run& run, const Work& work) {
    parallel_rows(n_cells, parts_of(n_cells, run.n_threads),
                  [&](std::size_t first, std::size_t last, std::size_t) {
                      for (std::size_t i = first; i < last; ++i)
                          work(i);
                  });
}

}  // namespace

void fill_uniform(float* out, std::size_t n_cells, std::uint32_t n, Purpose purpose,
                  const Run& run) {
    for_each_row(n_cells, run, [&](std::size_t i) {
        run.kernels->uniform(run.cell(i), purpose, n, out + i * n);
    });
}

void fill_uniform(double* out, std::size_t n_cells, std::uint32_t n, Purpose purpose,
                  const Run& run) {
    for_each_row(n_cells, run, [&](std::size_t i) {
        for (std::uint32_t j = 0; j < n; ++j) {
            const Words<std::uint32_t> words = random_words({run.cell(i), j / 2}, purpose);
            out[i * n + j] = j % 2 == 0 ? uniform_double(words.w0, words.w1)
                                        : uniform_double(words.w2, words.w3);
        }
    });
}

void fill_gamma(const double* shape, double* out, std::size_t n_cells, std::uint32_t n,
                const Run& run) {
    for_each_row(n_cells, run, [&](std::size_t i) {
        for (std::uint32_t j = 0; j < n; ++j) {
            out[i * n + j] = draw_gamma({run.cell(i), j}, shape[i * n + j]);
        }
    });
}

}  // namespace vaexprs
