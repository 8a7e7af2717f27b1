// The vector code: its errors where they are bounded, its draws where they must be the reference's.
//
// The kernels' headers are compiled here a further time, with the flags of this file, to reach what
// is inside; the tables of kernels are those of the library.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "vaexprs/float_math.hpp"
#include "vaexprs/kernels.hpp"
#include "vaexprs/observation.hpp"
#include "vaexprs/parallel.hpp"
#include "vaexprs/reference.hpp"
#include "vaexprs/variates.hpp"

#include "../src/kernels/count_laws.hpp"
#include "../src/kernels/counts.hpp"
#include "check.hpp"

namespace vaexprs::tests {

namespace {

float from_bits(std::uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

/// Distance in units in the last place of the float nearest to `wanted`.
double error_in_ulps(float found, double wanted) {
    const float nearest = std::abs(static_cast<float>(wanted));
    const double ulp = static_cast<double>(std::nextafter(nearest, INFINITY)) - nearest;
    return std::abs(found - wanted) / ulp;
}

void errors_of_log_and_exp() {
    double worst_log = 0.0, worst_exp = 0.0;
    // Every 997th of the normal floats up to 2^64, then of the range of exp.
    for (std::uint32_t bits = 0x00800000u; bits < 0x5F800000u; bits += 997) {
        const float x = from_bits(bits);
        const double wanted = std::log(static_cast<double>(x));
        if (wanted != 0.0) worst_log = std::max(worst_log, error_in_ulps(log_float(x), wanted));
    }
    for (float x = -87.0f; x <= 88.0f; x += 1e-4f) {
        const double wanted = std::exp(static_cast<double>(x));
        worst_exp = std::max(worst_exp, error_in_ulps(exp_float(x), wanted));
    }
    std::printf("    log %.2f ulp, exp %.2f ulp\n", worst_log, worst_exp);
    CHECK(worst_log < 3.0);
    CHECK(worst_exp < 2.0);
}

void circle_points_are_on_the_circle() {
    // An even lattice of bits: an even spread over the quarters of the circle.
    const std::uint32_t n = 1u << 22;
    std::uint32_t quarters[4] = {};
    double worst = 0.0;
    for (std::uint32_t i = 0; i < n; ++i) {
        const Point<float> point = circle_point<float>(i * 1024u + 512u);
        const double x = point.x, y = point.y;
        worst = std::max(worst, std::abs(x * x + y * y - 1.0));
        ++quarters[(x < 0.0 ? 1 : 0) + (y < 0.0 ? 2 : 0)];
    }
    CHECK(worst < 3e-7);
    for (const std::uint32_t count : quarters)
        CHECK(count == n / 4);
}

/// The largest error of the tails of a law in float32, as a share of the tolerance.
template <class Law, class Exact>
double worst_tail(const std::vector<float>& means, const std::vector<float>& thetas,
                  const Exact& exact) {
    using namespace VAEXPRS_ISA;
    double worst = 0.0;
    for (const float theta_value : thetas) {
        const auto n = static_cast<std::uint32_t>(means.size());
        std::vector<float> theta(n, theta_value), logits(n, -1.5f);
        const ObservationRow row{{0, 0}, n, {means.data(), theta.data(), logits.data()}};
        std::vector<std::uint32_t> scratch(kScratchArrays * (n + kPadding));
        const CountArrays s = lay_out(scratch.data(), n);
        for (std::uint32_t i = 0; i < n; ++i) {
            s.candidate[i] = i << 8;
            s.mean[i] = means[i];
        }
        Law{row}.prepare(s, n);
        for (std::uint32_t i = 0; i + kLanes <= n; i += kLanes) {
            Inversion inversion(s, i, broadcast(2.0f), broadcast(0.0f), 0.0f);
            const F32 tolerance = tolerance_of(load<F32>(s.mean + i));
            std::vector<double> tail(kLanes), p(kLanes);
            for (int k = 0; k < 1024; ++k) {
                for (std::uint32_t lane = 0; lane < kLanes; ++lane) {
                    const CountLaw law = exact(means[i + lane], theta_value, -1.5f);
                    if (k == 0) {
                        p[lane] = law.weight * law.zero;
                        tail[lane] = law.weight * law.above;
                    } else {
                        p[lane] *= (law.first + law.slope * (k - 1.0)) / k;
                        tail[lane] -= p[lane];
                    }
                    const double error = std::abs(inversion.tail[lane] - tail[lane]);
                    worst = std::max(worst, error / tolerance[lane]);
                }
                inversion.step(static_cast<float>(k));
            }
        }
    }
    return worst;
}

void float_tails_are_within_their_bound() {
    std::vector<float> means;
    for (double mean = 1e-9; mean <= 32.0; mean *= 1.09)
        means.push_back(static_cast<float>(mean));
    while (means.size() % VAEXPRS_ISA::kLanes != 0)
        means.push_back(32.0f);
    std::vector<float> thetas;
    for (double theta = 1e-9; theta < 1e20; theta *= 1.9)
        thetas.push_back(static_cast<float>(theta));
    const double poisson = worst_tail<VAEXPRS_ISA::PoissonLaw>(
        means, {1.0f}, [](float mean, float, float) { return poisson_law(mean); });
    const double nb = worst_tail<VAEXPRS_ISA::NegativeBinomialLaw>(
        means, thetas,
        [](float mean, float theta, float) { return negative_binomial_law(mean, theta); });
    const double zinb = worst_tail<VAEXPRS_ISA::ZeroInflatedLaw>(
        means, thetas, [](float mean, float theta, float logits) {
            return negative_binomial_law(mean, theta, weight_of(logits));
        });
    std::printf("    share of the tolerance: Poisson %.2f, NB %.2f, ZINB %.2f\n", poisson, nb,
                zinb);
    CHECK(poisson < 0.5);
    CHECK(nb < 0.5);
    CHECK(zinb < 0.5);
}

/// Parameters of all kinds, from a generator of the test's own.
struct Rows {
    explicit Rows(std::uint32_t n, double low, double high) : mean(n), theta(n), logits(n) {
        std::uint64_t state = n;
        const auto uniform = [&] {
            state = state * 6364136223846793005u + 1442695040888963407u;
            return static_cast<double>(state >> 11) * 0x1p-53;
        };
        for (std::uint32_t i = 0; i < n; ++i) {
            mean[i] = static_cast<float>(std::pow(10.0, low + (high - low) * uniform()));
            theta[i] = static_cast<float>(std::pow(10.0, 4.0 * uniform() - 2.0));
            logits[i] = static_cast<float>(10.0 * uniform() - 5.0);
        }
    }
    std::vector<float> mean, theta, logits;
};

void kernels_equal_the_reference() {
    const Kernels& reference = *available_kernels().front();
    for (const std::uint32_t n : {1u, 15u, 64u, 255u, 257u, 4099u}) {
        for (const double high : {0.0, 2.0, 5.0}) {
            const Rows rows(n, -4.0, high);
            const auto draw = [&](SparseKernel kernel, bool probability, std::uint64_t cell) {
                std::vector<float> mean = rows.mean;
                if (probability) {
                    for (float& x : mean)
                        x = std::min(x, 1.0f);
                }
                std::vector<std::int32_t> columns(n + kPadding);
                std::vector<float> values(n + kPadding);
                std::vector<std::uint32_t> scratch(kScratchArrays * (n + kPadding));
                const std::size_t n_non_zeros =
                    kernel({{99, cell}, n, {mean.data(), rows.theta.data(), rows.logits.data()}},
                           {columns.data(), values.data()}, scratch.data());
                columns.resize(n_non_zeros);
                values.resize(n_non_zeros);
                return std::pair(columns, values);
            };
            for (const Kernels* kernels : available_kernels()) {
                for (std::size_t k = 0; k < kNLikelihoods; ++k) {
                    const bool probability = kLikelihoods[k].parameters[0].support.high == 1.0f;
                    for (std::uint64_t cell = 0; cell < 5; ++cell) {
                        CHECK(draw(kernels->sample[k], probability, cell) ==
                              draw(reference.sample[k], probability, cell));
                    }
                }
            }
        }
    }
}

void csr_holds_the_draws_of_each_entry() {
    const std::uint32_t n = 700;
    const std::size_t n_cells = 7;
    const Rows rows(n * static_cast<std::uint32_t>(n_cells), -3.0, 2.0);
    const Observation observation{
        &likelihood_named("nb"), n_cells, n, {{rows.mean.data(), n}, {rows.theta.data(), 0}}};
    for (const unsigned n_threads : {1u, 3u, 20u}) {
        const Csr csr = sample_csr(observation, {5, 1000, n_threads, available_kernels().back()});
        std::vector<float> filled(n_cells * n, 0.0f), wanted(n_cells * n);
        for (std::size_t i = 0; i < n_cells; ++i) {
            for (auto j = csr.indptr[i]; j < csr.indptr[i + 1]; ++j) {
                const auto column = static_cast<std::size_t>(csr.indices.data()[j]);
                filled[i * n + column] = csr.data.data()[j];
            }
            for (std::uint32_t j = 0; j < n; ++j)
                wanted[i * n + j] =
                    reference::nb({{5, 1000 + i}, j}, rows.mean[i * n + j], rows.theta[j]);
        }
        CHECK(filled == wanted);
        CHECK(csr.data.size() == static_cast<std::size_t>(csr.indptr.back()));
    }
}

void bad_means_throw_from_any_thread() {
    std::vector<float> mean(5000, 1.0f);
    const std::vector<float> theta(1000, 1.0f);
    mean[4321] = NAN;
    const Observation observation{
        &likelihood_named("nb"), 5, 1000, {{mean.data(), 1000}, {theta.data(), 0}}};
    for (const unsigned n_threads : {1u, 5u}) {
        bool thrown = false;
        try {
            sample_csr(observation, {1, 0, n_threads, available_kernels().back()});
        } catch (const std::invalid_argument& error) {
            thrown = std::strstr(error.what(), "row 4, column 321") != nullptr;
        }
        CHECK(thrown);
    }
}

void parallel_rows_covers_each_row_once() {
    std::vector<int> seen(1000, 0);
    parallel_rows(seen.size(), 7, [&](std::size_t first, std::size_t last, std::size_t) {
        for (std::size_t i = first; i < last; ++i)
            ++seen[i];
    });
    CHECK(seen == std::vector<int>(1000, 1));
    CHECK(parts_of(0, 8) == 1);
    CHECK(parts_of(3, 8) == 3);
}

}  // namespace

}  // namespace vaexprs::tests

int main() {
    using namespace vaexprs::tests;
    return run_all({{"errors of log and exp", errors_of_log_and_exp},
                    {"circle points", circle_points_are_on_the_circle},
                    {"float tails are within their bound", float_tails_are_within_their_bound},
                    {"kernels equal the reference", kernels_equal_the_reference},
                    {"CSR holds the draws of each entry", csr_holds_the_draws_of_each_entry},
                    {"bad means throw from any thread", bad_means_throw_from_any_thread},
                    {"parallel rows", parallel_rows_covers_each_row_once}});
}
