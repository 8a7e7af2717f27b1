#include "vaexprs/likelihoods.hpp"

#include <stdexcept>
#include <string>

namespace vaexprs {

#define VAEXPRS_ROW(name, takes_logits, ...) {#name, takes_logits, {__VA_ARGS__}},
const Likelihood kLikelihoods[kNLikelihoods] = {VAEXPRS_LIKELIHOODS(VAEXPRS_ROW)};
#undef VAEXPRS_ROW

const Likelihood& likelihood_named(std::string_view name) {
    std::string known;
    for (const Likelihood& likelihood : kLikelihoods) {
        if (name == likelihood.name) return likelihood;
        known += (known.empty() ? "'" : ", '") + std::string(likelihood.name) + "'";
    }
    throw std::invalid_argument("likelihood: expected one of " + known + ", got '" +
                                std::string(name) + "'.");
}

}  // namespace vaexprs
