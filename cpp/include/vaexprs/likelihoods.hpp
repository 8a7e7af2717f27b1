// The table of likelihoods: everything that bindings and sampling need to know of each.
//
// A new one is a row here, its meaning as a function of reference.hpp, and a header with a kernel
// sample_<name>, which makes the same draws by vectors: included by src/kernels/counts.cpp, or by
// table.cpp where its values must be the same bits on every machine.

#pragma once

#include <cstddef>
#include <limits>
#include <string_view>

namespace vaexprs {

/// The numbers a parameter may have, both ends included.
struct Support {
    const char* text;
    float low, high;
};

inline constexpr float kLargest = std::numeric_limits<float>::max();
inline constexpr Support kFinite{"finite values", -kLargest, kLargest};
inline constexpr Support kPositive{"finite values > 0", std::numeric_limits<float>::denorm_min(),
                                   kLargest};
inline constexpr Support kNotNegative{"finite values >= 0", 0.0f, kLargest};
inline constexpr Support kProbability{"probabilities in [0, 1]", 0.0f, 1.0f};
/// Counts are 64-bit integers on their way. Those above 2^24 are rounded to float32.
inline constexpr Support kCountMean{"finite values >= 0 and < 2^63", 0.0f, 0x1.fffffep62f};

struct Parameter {
    const char* name = nullptr;
    Support support{};
};

inline constexpr std::size_t kMaxParameters = 3;

/// ROW(name, whether logits and library sizes may stand for the means, parameters in their order,
/// the mean first). reference.hpp defines the parameters.
#define VAEXPRS_LIKELIHOODS(ROW)                                                 \
    ROW(bernoulli, false, {"mean", kProbability})                                \
    ROW(gaussian, false, {"mean", kFinite}, {"scale", kNotNegative})             \
    ROW(rectified_gaussian, false, {"mean", kFinite}, {"scale", kNotNegative})   \
    ROW(poisson, true, {"mean", kCountMean})                                     \
    ROW(nb, true, {"mean", kCountMean}, {"inverse_dispersion", kPositive})       \
    ROW(zinb, true, {"mean", kCountMean}, {"inverse_dispersion", kPositive},     \
        {"zero_logits", kFinite})                                                \
    ROW(zigamma, false, {"mean", kCountMean}, {"inverse_dispersion", kPositive}, \
        {"zero_logits", kFinite})

struct Likelihood {
    const char* name;
    bool takes_logits;
    Parameter parameters[kMaxParameters];  ///< those it does not have have no name

    std::size_t n_parameters() const {
        std::size_t n = 0;
        while (n < kMaxParameters && parameters[n].name != nullptr)
            ++n;
        return n;
    }
};

#define VAEXPRS_COUNT_ROW(...) +1
inline constexpr std::size_t kNLikelihoods = 0 VAEXPRS_LIKELIHOODS(VAEXPRS_COUNT_ROW);
#undef VAEXPRS_COUNT_ROW

extern const Likelihood kLikelihoods[kNLikelihoods];

/// Throws std::invalid_argument, with the names there are.
const Likelihood& likelihood_named(std::string_view name);

}  // namespace vaexprs
