// Rows of counts: filter, exact zero test, inversion, each over whole vectors of entries.
//
// All of it works on the uniform v of each entry and the upper tail P(X > k) in float32. The error
// of the tail is bounded (see tolerance_of); where v and a tail are closer than the bound the
// float64 reference decides. So the result is that of the reference, draw by draw, whatever the
// instruction set, and float32 only ever decides what it can tell for sure.

#pragma once

#include "filter.hpp"
#include "vaexprs/reference.hpp"

namespace vaexprs::VAEXPRS_ISA {

/// The state of the inversion of some entries: Panjer's recurrence as in count_law.hpp.
struct CountLanes {
    F32 p;      ///< weight times p(k)
    F32 tail;   ///< weight times P(X > k)
    F32 first;  ///< p(k) = p(k - 1) (first + slope (k - 1)) / k
    F32 slope;
};

/// Bound of the error of tails in float32, for k up to where the recheck ends the inversion.
///
/// With eps = 2^-24: p(0) carries a relative error of up to 8 t eps, where t = -log p(0) <= mean,
/// and each step of the recurrence adds 4 eps to p(k). Summed over k that is at most
/// (8 + 4 + 1) mean eps, as the mean is the sum of k p(k) and of the tails; log, exp, weight and v
/// add less than 10 eps. 2e-6 = 33 eps leaves a factor of two. A test looks for the largest error.
VAEXPRS_INLINE F32 tolerance_of(F32 mean) {
    return (mean + 1.0f) * 2e-6f;
}

/// Entries in the middle of their inversion, as arrays.
struct Pending {
    float *v, *tolerance, *p, *tail, *first, *slope;
    std::uint32_t* slot;  ///< position among the row's non-zeros
};

template <class Law>
class CountSampler {
  public:
    CountSampler(const Law& law, const ObservationRow& row, SparseRow out,
                                       std::uint32_t* scratch)
        : law_(law), row_(row), out_(out) {
        const std::size_t length = row.n_genes + kPadding;
        const auto floats = [&](std::size_t which) {
            return reinterpret_cast<float*>(scratch + which * length);
        };
        candidates_ = scratch;
        pending_ = {floats(1), floats(2), floats(3), floats(4), floats(5), floats(6),
                    scratch + 7 * length};
        settled_slots_ = scratch + 8 * length;
        settled_values_ = floats(9);
    }

    std::size_t operator()() {
        const std::size_t n_candidates = filter_candidates(row_, kLimit, candidates_);
        if (n_candidates == kBadMean) return kBadMean;
        find_non_zeros(n_candidates);
        std::size_t n_pending = invert<true>(n_non_zeros_, 0.0f);
        for (float k = kSteps; n_pending > 0; k += kSteps) n_pending = invert<false>(n_pending, k);
        for (std::size_t i = 0; i < n_settled_; ++i) {
            out_.values[settled_slots_[i]] = settled_values_[i];
        }
        return n_non_zeros_;
    }

  private:
    static constexpr float kLimit = 0x1p63f;
    static constexpr int kSteps = 4;

    /// Lanes of candidates whose count is not zero, with the state of their inversion.
    void find_non_zeros(std::size_t n_candidates) {
        const RowStream stream = row_stream(row_.seed, Purpose::refinement, row_.cell);
        for (std::size_t i = 0; i < n_candidates; i += kLanes) {
            const U32 left = broadcast(static_cast<std::uint32_t>(n_candidates - i));
            const I32 there = lane_numbers() < left;
            // Lanes beyond the last candidate look at gene 0, and are dropped at the end.
            const U32 candidate = load<U32>(candidates_ + i) & __builtin_bit_cast(U32, there);
            const U32 gene = candidate_gene(candidate);
            const F32 mean = gather(row_.mean, gene);
            const U32 refinement = random_words(stream, gene).w0;
            const U32 v31 = (candidate << 23 & 0x7F800000u) | refinement >> 9;
            const F32 v = to_float(__builtin_bit_cast(I32, v31)) * 0x1p-31f;

            const CountLanes lanes = law_.lanes(mean, gene);
            const F32 tolerance = tolerance_of(mean);
            const F32 above = v - lanes.tail;
            const std::uint32_t here = bits_of(there);
            const std::uint32_t zero = bits_of(above > tolerance);
            const std::uint32_t not_zero = bits_of(above < -tolerance);
            const std::uint32_t large = bits_of(mean > reference::kLargeMean);
            // Neither for sure (or not a number), or not for inversion.
            std::uint32_t unclear = (~(zero | not_zero) | large) & here;
            std::uint32_t kept = (~zero | large) & here;
            for (std::uint32_t rest = unclear; rest != 0; rest &= rest - 1) {
                const auto lane = static_cast<std::uint32_t>(__builtin_ctz(rest));
                const float count = law_.exact(gene[lane]);
                if (count == 0.0f) {
                    kept &= ~(1u << lane);
                } else {
                    const std::uint32_t before = kept & ((1u << lane) - 1);
                    settle(n_non_zeros_ + static_cast<std::uint32_t>(__builtin_popcount(before)),
                           count);
                }
            }
            const Compaction compaction(kept);
            const std::size_t n = n_non_zeros_;
            compaction.store(out_.columns + n, gene);
            // What is settled drops out of the inversion at its first step.
            const I32 inverted = (above < -tolerance) & (mean <= reference::kLargeMean);
            compaction.store(pending_.v + n, inverted ? v : broadcast(2.0f));
            compaction.store(pending_.tolerance + n, tolerance);
            compaction.store(pending_.p + n, lanes.p);
            compaction.store(pending_.tail + n, lanes.tail);
            compaction.store(pending_.first + n, lanes.first);
            compaction.store(pending_.slope + n, lanes.slope);
            n_non_zeros_ += compaction.count();
        }
    }

    void settle(std::size_t slot, float count) {
        settled_slots_[n_settled_] = static_cast<std::uint32_t>(slot);
        settled_values_[n_settled_] = count;
        ++n_settled_;
    }

    /// Takes kSteps steps along the law of each pending entry, all of which are known to be above
    /// k; returns how many go on. Those come first in the arrays, in order.
    template <bool kFirst>
    std::size_t invert(std::size_t n_pending, float k) {
        std::size_t n = 0;
        for (std::size_t i = 0; i < n_pending; i += kLanes) {
            const U32 number = lane_numbers() + static_cast<std::uint32_t>(i);
            const I32 there = number < static_cast<std::uint32_t>(n_pending);
            const U32 slot = kFirst ? number : load<U32>(pending_.slot + i);
            const F32 v = load<F32>(pending_.v + i);
            const F32 tolerance = load<F32>(pending_.tolerance + i);
            const F32 first = load<F32>(pending_.first + i);
            const F32 slope = load<F32>(pending_.slope + i);
            F32 p = load<F32>(pending_.p + i);
            F32 tail = load<F32>(pending_.tail + i);
            F32 count = broadcast(k + 1.0f);
            F32 above = v;
            I32 clear = ~I32{};
            for (int step = 0; step < kSteps; ++step) {
                const float at = k + static_cast<float>(step);
                p *= (first + slope * at) * (1.0f / (at + 1.0f));
                tail -= p;
                above = v - tail;
                clear &= absolute(above) > tolerance;
                count += above < 0.0f ? broadcast(1.0f) : F32{};
            }
            const std::uint32_t here = bits_of(there);
            const std::uint32_t unclear = here & ~bits_of(clear);
            const std::uint32_t going_on = here & ~unclear & bits_of(above < 0.0f);
            if constexpr (kFirst) {
                store(out_.values + i, count);
            } else {
                for (std::uint32_t rest = here & ~going_on; rest != 0; rest &= rest - 1) {
                    const auto lane = static_cast<std::uint32_t>(__builtin_ctz(rest));
                    out_.values[slot[lane]] = count[lane];
                }
            }
            for (std::uint32_t rest = unclear; rest != 0; rest &= rest - 1) {
                const std::uint32_t at = slot[static_cast<std::uint32_t>(__builtin_ctz(rest))];
                out_.values[at] = law_.exact(static_cast<std::uint32_t>(out_.columns[at]));
            }
            const Compaction compaction(going_on);
            compaction.store(pending_.slot + n, slot);
            compaction.store(pending_.v + n, v);
            compaction.store(pending_.tolerance + n, tolerance);
            compaction.store(pending_.p + n, p);
            compaction.store(pending_.tail + n, tail);
            compaction.store(pending_.first + n, first);
            compaction.store(pending_.slope + n, slope);
            n += compaction.count();
        }
        return n;
    }

    const Law& law_;
    const ObservationRow& row_;
    const SparseRow out_;
    std::uint32_t* candidates_;
    Pending pending_;
    std::uint32_t* settled_slots_;
    float* settled_values_;
    std::size_t n_settled_ = 0;
    std::size_t n_non_zeros_ = 0;
};

}  // namespace vaexprs::VAEXPRS_ISA
