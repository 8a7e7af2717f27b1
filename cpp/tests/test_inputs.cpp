// Inputs of a small model: the same from any thread and cut, and borrowed where combinations are
// unseen.

#include <cmath>
#include <cstdint>
#include <vector>

#include "vaexprs/inputs.hpp"
#include "vaexprs/kernels.hpp"
#include "vaexprs/parallel.hpp"

#include "check.hpp"

namespace vaexprs::tests {

namespace {

constexpr std::size_t kLatent = 3;

/// Two keys of 40 and 2 categories; the last combination of the second key was never seen.
struct Model {
    std::vector<std::int32_t> sizes{40, 2}, seen, factor, all;
    std::vector<std::int64_t> n_cells, offsets{0};
    std::vector<double> weights;
    std::vector<float> means, tril, minimum, maximum, location, scale;
    std::vector<std::uint64_t> bounds;
    std::vector<std::int32_t> groups;
    std::vector<std::uint32_t> streams;

    Model() {
        for (std::int32_t a = 0; a < 40; ++a) {
            for (std::int32_t b = 0; b < 2; ++b) {
                all.insert(all.end(), {a, b});
                streams.push_back(stream_of({"a", std::to_string(a), "b", std::to_string(b)}));
                groups.push_back(static_cast<std::int32_t>(groups.size()));
                bounds.push_back(groups.size() * (~std::uint64_t{0} / 80));
                if (a == 39 && b == 1) continue;
                seen.insert(seen.end(), {a, b});
                n_cells.push_back(10 + a);
                weights.push_back(1.0);
                offsets.push_back(static_cast<std::int64_t>(weights.size()));
                factor.push_back(0);
                // The effects of the keys add up.
                for (std::size_t j = 0; j < kLatent; ++j)
                    means.push_back(static_cast<float>(a) * 0.5f + (b == 1 ? 100.0f : 0.0f));
                minimum.push_back(1.0f), maximum.push_back(1e6f);
                location.push_back(7.0f), scale.push_back(0.3f);
            }
        }
        tril.assign(kLatent * kLatent, 0.0f);
        for (std::size_t j = 0; j < kLatent; ++j)
            tril[j * kLatent + j] = 0.1f;
    }

    Inputs inputs() const {
        const LatentLaw law{kLatent,
                            false,
                            {offsets, weights, means.data(), tril.data(), factor},
                            {minimum.data(), maximum.data(), location.data(), scale.data()}};
        return {{sizes, seen, n_cells}, law, {true, bounds, groups}, all, streams};
    }
};

struct Drawn {
    explicit Drawn(std::size_t n)
        : codes(2 * n), streams(n), z(kLatent * n), condition(42 * n), library(n), unseen(n) {}

    void draw(const Inputs& inputs, std::size_t first, std::size_t last) {
        const Run run{7, first, 1, available_kernels().back()};
        inputs.draw(run, last - first,
                    {codes.data() + 2 * first, reinterpret_cast<bool*>(unseen.data()) + first,
                     streams.data() + first, z.data() + kLatent * first,
                     condition.data() + 42 * first, library.data() + first});
    }

    bool operator==(const Drawn&) const = default;

    std::vector<std::int32_t> codes;
    std::vector<std::uint32_t> streams;
    std::vector<float> z, condition, library;
    std::vector<unsigned char> unseen;
};

void threads_and_cuts_do_not_matter() {
    const Model model;
    const Inputs inputs = model.inputs();
    const std::size_t n = 3000;
    Drawn whole(n);
    whole.draw(inputs, 0, n);
    for (const std::size_t n_parts : {2u, 7u}) {
        Drawn parts(n);
        parallel_rows(n, n_parts, [&](std::size_t first, std::size_t last, std::size_t) {
            parts.draw(inputs, first, last);
        });
        CHECK(parts == whole);
    }
}

void unseen_combinations_take_the_sum_of_effects() {
    const Model model;
    const Inputs inputs = model.inputs();
    const std::size_t n = 20000;
    Drawn drawn(n);
    drawn.draw(inputs, 0, n);
    std::size_t n_unseen = 0;
    for (std::size_t i = 0; i < n; ++i) {
        const std::int32_t a = drawn.codes[2 * i], b = drawn.codes[2 * i + 1];
        CHECK((drawn.unseen[i] != 0) == (a == 39 && b == 1));
        n_unseen += drawn.unseen[i];
        const double expected = 0.5 * a + 100.0 * b;
        for (std::size_t j = 0; j < kLatent; ++j)
            CHECK(std::abs(drawn.z[kLatent * i + j] - expected) < 1.0);
        CHECK(drawn.condition[42 * i + static_cast<std::size_t>(a)] == 1.0f);
        CHECK(drawn.condition[42 * i + static_cast<std::size_t>(40 + b)] == 1.0f);
    }
    CHECK(n_unseen > 200 && n_unseen < 300);
}

/// Two batches and two stimuli, (1, 1) unseen. The last latent holds the hidden group: the second
/// is more frequent in batch 0, and the third is in (0, 1) alone.
struct Hidden {
    std::vector<std::int32_t> sizes{2, 2}, seen{0, 0, 0, 1, 1, 0}, factor{0, 0, 0, 0, 0, 0, 0};
    std::vector<std::int64_t> n_cells{20000, 20000, 20000}, offsets{0, 2, 5, 7};
    std::vector<double> weights{0.75, 0.25, 0.65, 0.25, 0.1, 0.9, 0.1};
    //                        z, number of the group
    std::vector<float> means{0, -10, 100, 10, 1, -10, 101, 10, 201, 30, 5, -10, 105, 10};
    std::vector<float> tril{0.1f, 0, 0, 0};
    std::vector<std::uint64_t> bounds{0};
    std::vector<std::int32_t> groups{0}, asked{1, 1};

    Inputs inputs() const {
        const LatentLaw law{2, false, {offsets, weights, means.data(), tril.data(), factor}, {}};
        return {{sizes, seen, n_cells}, law, {true, bounds, groups}, asked, {kPlainStream}};
    }
};

void unseen_combinations_have_the_shares_of_groups_that_add_up() {
    const Hidden model;
    const Inputs inputs = model.inputs();
    const std::size_t n = 20000;
    std::vector<std::int32_t> codes(2 * n);
    std::vector<std::uint32_t> streams(n);
    std::vector<unsigned char> unseen(n);
    std::vector<float> z(2 * n);
    inputs.draw({7, 0, 1, available_kernels().back()}, n,
                {codes.data(), reinterpret_cast<bool*>(unseen.data()), streams.data(), z.data(),
                 nullptr, nullptr});
    // z differs more between stimuli than between batches, so (1, 1) borrows from (0, 1). There the
    // shares are 0.65, 0.25 and 0.1. Batch 1 multiplies the first by 1.2, the second by 0.4, leaves
    // the third, and moves the mean of z by -10.
    double count[3] = {0, 0, 0};
    const double expected[3] = {0.78 / 0.98, 0.1 / 0.98, 0.1 / 0.98}, means[3] = {-9, 91, 191};
    for (std::size_t i = 0; i < n; ++i) {
        CHECK(unseen[i] != 0);
        const float number = z[2 * i + 1];
        const std::size_t group = number == -10.0f ? 0 : number == 10.0f ? 1 : 2;
        CHECK(group < 2 || number == 30.0f);
        count[group] += 1.0 / n;
        CHECK(std::abs(z[2 * i] - means[group]) < 1.0);
    }
    // Five standard errors of the most uncertain share.
    for (std::size_t k = 0; k < 3; ++k)
        CHECK(std::abs(count[k] - expected[k]) < 0.015);
}

void streams_are_known_hashes() {
    CHECK(stream_of({}) == kPlainStream);
    // FNV-1a of "a", a zero byte, "b", a zero byte.
    CHECK(stream_of({"a", "b"}) == 0x81977B96u);
    CHECK(stream_of({"a", "b"}) != stream_of({"ab"}));
}

}  // namespace

}  // namespace vaexprs::tests

int main() {
    using namespace vaexprs::tests;
    return run_all(
        {{"threads and cuts do not matter", threads_and_cuts_do_not_matter},
         {"unseen combinations", unseen_combinations_take_the_sum_of_effects},
         {"shares of hidden groups", unseen_combinations_have_the_shares_of_groups_that_add_up},
         {"streams", streams_are_known_hashes}});
}
