#include "vaexprs/random.hpp"

#include <array>

#include "vaexprs/categorical.hpp"
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
        run.kernels->uniform(run.seed, purpose, run.first_cell + i, n, out + i * n);
    });
}

void fill_uniform(double* out, std::size_t n_cells, std::uint32_t n, Purpose purpose,
                  const Run& run) {
    for_each_row(n_cells, run, [&](std::size_t i) {
        for (std::uint32_t j = 0; j < n; ++j) {
            const Words<std::uint32_t> words =
                random_words({run.seed, run.first_cell + i, j / 2}, purpose);
            out[i * n + j] = j % 2 == 0 ? uniform_double(words.w0, words.w1)
                                        : uniform_double(words.w2, words.w3);
        }
    });
}

void fill_gamma(const double* shape, double* out, std::size_t n_cells, std::uint32_t n,
                const Run& run) {
    for_each_row(n_cells, run, [&](std::size_t i) {
        for (std::uint32_t j = 0; j < n; ++j) {
            out[i * n + j] = draw_gamma({run.seed, run.first_cell + i, j}, shape[i * n + j]);
        }
    });
}

void fill_category(std::span<const double> weights, std::int32_t* out, std::size_t n_cells,
                   const Run& run) {
    const std::array<std::int64_t, 2> offsets{0, static_cast<std::int64_t>(weights.size())};
    const std::vector<double> cumulative = cumulative_weights(weights, offsets);
    for_each_row(n_cells, run, [&](std::size_t i) {
        const Site site{run.seed, run.first_cell + i, 0};
        out[i] = static_cast<std::int32_t>(draw_category(site, Purpose::component, cumulative));
    });
}

}  // namespace vaexprs
