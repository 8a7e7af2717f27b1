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
    return run_all({{"threads and cuts do not matter", threads_and_cuts_do_not_matter},
                    {"unseen combinations", unseen_combinations_take_the_sum_of_effects},
                    {"streams", streams_are_known_hashes}});
}
