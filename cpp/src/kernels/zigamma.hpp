// Rows of zero-inflated gamma variates: which are zero, then rounds of attempts at the others.
//
// The first byte of an entry's uniform decides most zeros. An attempt is accepted or refused in
// float32 where that is certain; what is refused tries again in the next round, together with the
// others of the row; what is uncertain the reference decides. So the result is the reference's,
// draw by draw.

#pragma once

#include "vaexprs/gamma_float.hpp"
#include "vaexprs/reference.hpp"

#include "check.hpp"
#include "filter.hpp"
#include "kernels_of_isa.hpp"

namespace vaexprs::VAEXPRS_ISA {

struct GammaState {
    std::uint32_t* gene;     ///< of all that are not zero for sure
    float* value;            ///< of the same
    std::uint32_t* which;    ///< those that are still without a value: where they stand among all,
    std::uint32_t* pending;  ///< and their genes
    std::uint32_t* recheck;  ///< those that the reference must decide: where they stand
    std::size_t n = 0, n_pending = 0, n_recheck = 0;
};

/// Finds the entries that are not zero.
static inline void find_non_zeros(const ObservationRow& row, GammaState& s) {
    constexpr std::uint32_t kStride = 2 * kTileBytes;
    constexpr float kTolerance = 1e-6f;
    const RowStream stream = row_stream(row.cell, Purpose::observation);
    alignas(64) std::uint32_t words[kTwoTilesWords];
    alignas(64) float last_logits[kStride];
    for (std::uint32_t first = 0, i = 0; first < row.n_genes; first += kStride, ++i) {
        fill_two_tiles(stream, i, words);
        const auto* bytes = reinterpret_cast<const std::uint8_t*>(words);
        const float* logits = row.parameters[2] + first;
        const std::uint32_t left = row.n_genes - first;
        if (left < kStride) {
            std::memcpy(last_logits, logits, left * sizeof(float));
            std::memset(last_logits + left, 0, sizeof last_logits - left * sizeof(float));
            logits = last_logits;
        }
        const std::uint32_t n_genes = left < kStride ? left : kStride;
        for (std::uint32_t j = 0; j < n_genes; j += kLanes) {
            const U32 offset = lane_numbers() + j;
            const std::uint32_t here = bits_of(offset < n_genes);
            const F32 v = to_float(__builtin_bit_cast(I32, widen_bytes(bytes + j))) * 0x1p-8f;
            const F32 weight = weight_of(load<F32>(logits + j));
            const std::uint32_t kept = here & bits_of(v < weight + kTolerance);
            const std::uint32_t sure = kept & bits_of(v + 0x1p-8f < weight - kTolerance);
            const U32 gene = offset + first;
            const Compaction all(kept);
            all.store(s.gene + s.n, gene);
            // Where the lanes stand among all, by counting those before them.
            const U32 place = rank_of(kept) + static_cast<std::uint32_t>(s.n);
            const Compaction certain(sure);
            certain.store(s.which + s.n_pending, place);
            certain.store(s.pending + s.n_pending, gene);
            s.n_pending += certain.count();
            const Compaction uncertain(kept & ~sure);
            uncertain.store(s.recheck + s.n_recheck, place);
            s.n_recheck += uncertain.count();
            s.n += all.count();
        }
    }
}

/// One attempt for the pending entries i ... i + kLanes - 1 of n.
VAEXPRS_INLINE void attempt_vector(const ObservationRow& row, GammaState& s, std::size_t i,
                                   std::size_t n, const Words<U32>& words) {
    const U32 number = lane_numbers() + static_cast<std::uint32_t>(i);
    const std::uint32_t here = bits_of(number < static_cast<std::uint32_t>(n));
    const U32 which = load<U32>(s.which + i), gene = load<U32>(s.pending + i);
    const F32 shape = gather(row.parameters[1], gene);
    const F32 mean = gather(row.parameters[0], gene);
    const GammaAttempt<F32> made = attempt_gamma(shape, words);

    // Marsaglia and Tsang's quick test passes nine in ten; its margin covers float32.
    const F32 u = (to_float(__builtin_bit_cast(I32, words.w2 >> 1)) + 0.5f) * 0x1p-31f;
    const F32 square = made.x * made.x;
    const std::uint32_t quick =
        bits_of((u < 1.0f - (square * square * 0.0331f + 1e-5f)) & (made.root > 1e-3f));
    std::uint32_t accepted = quick, refused = bits_of(made.root < -1e-3f);
    if ((here & ~quick) != 0) {
        const F32 root = larger(made.root, 1e-3f);
        const F32 cube = root * root * root;
        const F32 margin =
            square * 0.5f + made.d * ((1.0f - cube) + log_float(root) * 3.0f) - log_float(u);
        const F32 tolerance = (made.d * (cube + 1.0f) + 20.0f) * 1e-6f;
        const I32 inside = made.root > 1e-3f;
        accepted |= bits_of((margin > tolerance) & inside);
        refused |= bits_of((margin < -tolerance) & inside) & ~quick;
    }

    F32 value = made.value * (mean / shape);
    const I32 small = shape < 1.0f;
    if (bits_of(small) != 0) value = small ? value * gamma_boost(shape, words.w3) : value;
    scatter(s.value, here & accepted, which, value);
    const Compaction uncertain(here & ~(accepted | refused));
    uncertain.store(s.recheck + s.n_recheck, which);
    s.n_recheck += uncertain.count();
    const Compaction again(here & refused);
    again.store(s.which + s.n_pending, which);
    again.store(s.pending + s.n_pending, gene);
    s.n_pending += again.count();
}

/// One attempt for all that are pending.
static inline void attempt_round(const ObservationRow& row, GammaState& s, std::uint32_t attempt) {
    const RowStream stream = row_stream(row.cell, Purpose::gamma);
    const std::size_t n = s.n_pending;
    store(s.pending + n, U32{});
    store(s.pending + n + kLanes, U32{});
    s.n_pending = 0;
    for (std::size_t i = 0; i < n; i += kPairedLanes) {
        const Paired genes{load<U32>(s.pending + i), load<U32>(s.pending + i + kLanes)};
        const Words<Paired> words = random_words(stream, genes, attempt);
        attempt_vector(row, s, i, n, {words.w0.a, words.w1.a, words.w2.a, words.w3.a});
        attempt_vector(row, s, i + kLanes, n, {words.w0.b, words.w1.b, words.w2.b, words.w3.b});
    }
}

std::size_t sample_zigamma(const ObservationRow& row, SparseRow out, std::uint32_t* scratch) {
    if (!all_within(row.parameters[0], row.n_genes, 0.0f, 0x1.fffffep62f)) return kBadMean;
    const auto words = [&](std::size_t i) { return scratch + i * (row.n_genes + kPadding); };
    GammaState s{words(0), reinterpret_cast<float*>(words(1)), words(2), words(3), words(4)};
    find_non_zeros(row, s);
    for (std::uint32_t attempt = 0; s.n_pending > 0; ++attempt)
        attempt_round(row, s, attempt);
    for (std::size_t i = 0; i < s.n_recheck; ++i) {
        const std::uint32_t which = s.recheck[i], gene = s.gene[which];
        s.value[which] = reference::zigamma({row.cell, gene}, row.parameters[0][gene],
                                            row.parameters[1][gene], row.parameters[2][gene]);
    }
    // Zeros again: extra zeros that took all bits to find, means of 0, values that underflowed.
    std::size_t n = 0;
    for (std::size_t i = 0; i < s.n; i += kLanes) {
        const U32 number = lane_numbers() + static_cast<std::uint32_t>(i);
        const F32 value = load<F32>(s.value + i);
        const Compaction kept(
            bits_of((value != 0.0f) & (number < static_cast<std::uint32_t>(s.n))));
        kept.store(out.columns + n, load<U32>(s.gene + i));
        kept.store(out.values + n, value);
        n += kept.count();
    }
    return n;
}

}  // namespace vaexprs::VAEXPRS_ISA
