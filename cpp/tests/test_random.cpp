// Words, uniforms, and the exact distributions, by themselves.

#include <cmath>
#include <cstdint>
#include <vector>

#include "vaexprs/latent.hpp"
#include "vaexprs/streams.hpp"
#include "vaexprs/threefry.hpp"
#include "vaexprs/uniform.hpp"
#include "vaexprs/variates.hpp"

#include "check.hpp"

namespace vaexprs::tests {

namespace {

bool equal(const Words<std::uint32_t>& words, std::uint32_t w0, std::uint32_t w1, std::uint32_t w2,
           std::uint32_t w3) {
    return words.w0 == w0 && words.w1 == w1 && words.w2 == w2 && words.w3 == w3;
}

// Published with Random123.
void known_answers() {
    const std::uint32_t ones = 0xFFFFFFFFu;
    CHECK(equal(threefry4x32(0u, 0u, 0u, 0u, {0, 0, 0, 0}), 0x9c6ca96au, 0xe17eae66u, 0xfc10ecd4u,
                0x5256a7d8u));
    CHECK(equal(threefry4x32(ones, ones, ones, ones, {ones, ones, ones, ones}), 0x2a881696u,
                0x57012287u, 0xf6c7446eu, 0xa16a6732u));
    CHECK(equal(threefry4x32(0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u,
                             {0xa4093822u, 0x299f31d0u, 0x082efa98u, 0xec4e6c89u}),
                0x59cd1dbbu, 0xb8879579u, 0x86b5d00cu, 0xac8b6d84u));
}

void uniform_supports() {
    CHECK(uniform_double(0, 0) == 0x1p-53);
    CHECK(uniform_double(0xFFFFFFFFu, 0xFFFFFFFFu) == 1.0 - 0x1p-53);
}

void tiles_are_a_permutation() {
    // Every word of a tile is some position of some block, once.
    std::vector<int> seen(256, 0);
    for (std::uint32_t index = 64; index < 128; ++index) {
        const std::uint32_t block = tiled_block(index);
        CHECK(block >= 16 && block < 32);
        ++seen[(block - 16) * 4 + tiled_position(index)];
    }
    for (int i = 0; i < 64; ++i)
        CHECK(seen[static_cast<std::size_t>(i)] == 1);
    // Bytes are those of the words, little end first.
    const Site word{{7, 3}, 75};
    std::uint32_t joined = 0;
    for (std::uint32_t i = 0; i < 4; ++i) {
        joined |= tiled_byte({{7, 3}, 4 * 75 + i}, Purpose::observation) << (8 * i);
    }
    CHECK(joined == tiled_word(word, Purpose::observation));
}

/// The tail of a law by summing it from far out, where terms are small.
double summed_tail(double k, const CountLaw& law) {
    std::vector<double> p{law.zero};
    for (double i = 1.0; i < 4000.0; i += 1.0) {
        p.push_back(p.back() * (law.first + law.slope * (i - 1.0)) / i);
    }
    double sum = 0.0;
    for (std::size_t i = p.size() - 1; static_cast<double>(i) > k; --i)
        sum += p[i];
    return sum;
}

void inversion_finds_the_tail() {
    for (const CountLaw& law :
         {poisson_law(0.001), poisson_law(1.0), poisson_law(31.0), negative_binomial_law(0.2, 0.5),
          negative_binomial_law(5.0, 3.0), negative_binomial_law(30.0, 20.0)}) {
        for (double k = 0.0; k < 60.0; k += 1.0) {
            const double tail = summed_tail(k, law);
            if (tail < 1e-250) break;
            // Just above the tail at k the count is at most k, just below it is more.
            CHECK(invert_upper_tail(tail * (1.0 + 1e-9), law) <= k);
            CHECK(invert_upper_tail(tail * (1.0 - 1e-9), law) > k);
        }
    }
    // Nothing is above zero when the weight or the mean is zero, whatever v.
    CHECK(invert_upper_tail(1e-300, poisson_law(0.0)) == 0.0);
    CHECK(invert_upper_tail(1e-300, poisson_law(5.0, 0.0)) == 0.0);
}

void moments() {
    // Sample means and variances within 6 standard errors, at fixed seeds.
    const int n = 200000;
    const auto check_moments = [&](auto draw, double mean, double variance, double fourth) {
        double sum = 0.0, squares = 0.0;
        for (int i = 0; i < n; ++i) {
            const double x = draw(Site{{11, static_cast<std::uint64_t>(i)}, 5}) - mean;
            sum += x;
            squares += x * x;
        }
        CHECK(std::abs(sum / n) < 6.0 * std::sqrt(variance / n));
        CHECK(std::abs(squares / n - variance) <
              6.0 * std::sqrt((fourth - variance * variance) / n));
    };
    for (const double shape : {0.3, 1.0, 4.0, 1000.0}) {
        check_moments([&](Site site) { return draw_gamma(site, shape); }, shape, shape,
                      3.0 * shape * shape + 6.0 * shape);
    }
    for (const double mean : {0.1, 9.9, 10.0, 200.0, 1e9}) {
        check_moments([&](Site site) { return draw_poisson(site, mean); }, mean, mean,
                      mean + 3.0 * mean * mean);
    }
}

void categories_of_no_weight_are_never_drawn() {
    const std::vector<double> cumulative{0.0, 2.0, 2.0, 3.0, 3.0};
    for (std::uint64_t cell = 0; cell < 10000; ++cell) {
        const std::size_t drawn = draw_category({{1, cell}, 0}, Purpose::component, cumulative);
        CHECK(drawn == 1 || drawn == 3);
    }
}

}  // namespace

}  // namespace vaexprs::tests

int main() {
    using namespace vaexprs::tests;
    return run_all({{"known answers", known_answers},
                    {"supports of uniforms", uniform_supports},
                    {"tiles are a permutation", tiles_are_a_permutation},
                    {"inversion finds the tail", inversion_finds_the_tail},
                    {"moments", moments},
                    {"categories of no weight", categories_of_no_weight_are_never_drawn}});
}
