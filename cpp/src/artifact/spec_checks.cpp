#include "spec_checks.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "vaexprs/likelihoods.hpp"

#include "names.hpp"

namespace vaexprs::artifact {

namespace {

template <class T>
bool all_finite(const std::vector<T>& values) {
    return std::all_of(values.begin(), values.end(), [](T x) { return std::isfinite(x); });
}

void check_genes(const Spec& spec) {
    const std::string& seen = spec.observation;
    const bool rounds = spec.likelihood == "zigamma" && seen == "rounded";
    const bool is_value = spec.likelihood == "bernoulli" &&
                          (seen == "mean" || seen == "normal" || seen == "rectified");
    require(seen == "draw" || rounds || is_value, "observation",
            quoted(seen) + " is none of those that '" + spec.likelihood + "' takes");
    require(!spec.var_names.empty(), "var_names", "must name at least one gene");
    const std::set<std::string_view> names(spec.var_names.begin(), spec.var_names.end());
    require(names.size() == spec.var_names.size(), "var_names", "must be unique");
}

void check_conditions(const Spec& spec) {
    const std::size_t n_groups = spec.n_cells.size(), n_keys = spec.keys.size();
    const auto need = [](bool holds, const std::string& problem) {
        require(holds, "conditions", problem);
    };
    need(n_groups >= 1, "needs one row of codes for each combination and at least one row");
    std::set<std::string_view> names;
    for (const Key& key : spec.keys)
        need(names.insert(key.name).second, "keys must be unique");
    const std::string problem = key_problem(spec.keys);
    need(problem.empty(), problem);
    for (const Key& key : spec.keys) {
        const std::set<std::string_view> all(key.categories.begin(), key.categories.end());
        need(!all.empty() && all.size() == key.categories.size(),
             "categories of '" + key.name + "' must be unique and at least one");
    }
    std::set<std::vector<std::int32_t>> rows;
    double total = 0.0;
    for (std::size_t g = 0; g < n_groups; ++g) {
        const std::int32_t* row = spec.seen.data() + g * n_keys;
        for (std::size_t k = 0; k < n_keys; ++k)
            need(row[k] >= 0 && row[k] < spec.sizes[k],
                 "a combination has a code outside its key's categories");
        need(rows.emplace(row, row + n_keys).second, "combinations must be unique");
        need(spec.n_cells[g] >= 1, "every combination needs at least one training cell");
        total += static_cast<double>(spec.n_cells[g]);
    }
    need(total <= 0x1p53, "has more training cells than can be counted");
}

void check_mixture(const Spec& spec, const Shapes& shapes) {
    const std::int64_t n_dim = spec.n_latent + (spec.with_log_library ? 1 : 0);
    const auto n_groups = static_cast<std::int64_t>(spec.n_cells.size());
    const auto length = [&](const char* name) {
        const Shape& shape = shapes.at(name);
        return shape.empty() ? -1 : shape[0];
    };
    const std::int64_t n_components = length("weights"), n_factors = length("tril");
    const std::pair<const char*, Shape> expected[] = {{"offsets", {n_groups + 1}},
                                                      {"weights", {n_components}},
                                                      {"means", {n_components, n_dim}},
                                                      {"tril", {n_factors, n_dim, n_dim}},
                                                      {"factor", {n_components}}};
    for (const auto& [name, shape] : expected) {
        require(shapes.at(name) == shape, std::string("prior.") + name,
                "has another shape than the conditions and n_latent ask for");
    }
    bool rises = spec.offsets[0] == 0 && spec.offsets.back() == n_components;
    for (std::size_t g = 0; g + 1 < spec.offsets.size(); ++g)
        rises = rises && spec.offsets[g + 1] > spec.offsets[g];
    require(rises, "prior.offsets", "must rise from 0 to the number of components");
    const bool inside = std::all_of(spec.factor.begin(), spec.factor.end(),
                                    [&](std::int32_t f) { return f >= 0 && f < n_factors; });
    require(inside, "prior.factor", "points outside the stored factors");
    const char* not_finite = "holds values that are not finite";
    require(all_finite(spec.weights), "prior.weights", not_finite);
    require(all_finite(spec.means), "prior.means", not_finite);
    require(all_finite(spec.tril), "prior.tril", not_finite);
    for (std::size_t i = 0; i < spec.tril.size(); ++i) {
        const auto n = static_cast<std::size_t>(n_dim), row = i / n % n, column = i % n;
        require(column <= row || spec.tril[i] == 0.0f, "prior.tril",
                "must be zero above the diagonals");
    }
    for (std::size_t g = 0; g + 1 < spec.offsets.size(); ++g) {
        double sum = 0.0;
        bool positive = true;
        for (auto c = spec.offsets[g]; c < spec.offsets[g + 1]; ++c) {
            sum += spec.weights[static_cast<std::size_t>(c)];
            positive = positive && spec.weights[static_cast<std::size_t>(c)] >= 0.0;
        }
        require(positive && std::abs(sum - 1.0) <= 1.1e-5, "prior.weights",
                "must be non-negative and sum to 1 in each group");
    }
}

void check_library(const Spec& spec, const Shapes& shapes) {
    const bool is_there = spec.library_kind.has_value();
    require(is_there == likelihood_named(spec.likelihood).takes_logits, "library",
            "must be given for count likelihoods only, not '" + spec.likelihood + "'");
    require(spec.is_mixture || !spec.with_log_library, "prior",
            "a standard normal law has no library size");
    require(spec.with_log_library == (is_there && *spec.library_kind == "joint"), "library",
            "kind 'joint' and a prior with the log library go together");
    if (!is_there) return;
    require(*spec.library_kind == "joint" || *spec.library_kind == "lognormal", "library",
            "unknown kind '" + spec.library_kind->substr(0, 80) + "'");
    const std::size_t n_groups = spec.n_cells.size();
    const std::pair<const char*, const std::vector<float>*> arrays[] = {
        {"minimum", &spec.minimum},
        {"maximum", &spec.maximum},
        {"location", &spec.location},
        {"scale", &spec.scale}};
    for (const auto& [name, values] : arrays) {
        const Shape expected{static_cast<std::int64_t>(n_groups)};
        require(shapes.at(name) == expected && all_finite(*values), std::string("library.") + name,
                "expected " + std::to_string(n_groups) + " finite values");
    }
    for (std::size_t g = 0; g < n_groups; ++g) {
        require(0.0f <= spec.minimum[g] && spec.minimum[g] <= spec.maximum[g], "library",
                "bounds must satisfy 0 <= minimum <= maximum");
        require(spec.scale[g] >= 0.0f, "library.scale", "must not be negative");
    }
}

void check_residual(const Spec& spec, const Shapes& shapes) {
    const bool wanted = spec.observation == "normal" || spec.observation == "rectified";
    require(spec.residual.has_value() == wanted, "residual",
            "must be given for the observations 'normal', 'rectified' and for no other");
    if (!spec.residual) return;
    const auto n_genes = static_cast<std::int64_t>(spec.var_names.size());
    const std::vector<float>& scale = *spec.residual;
    const bool good = shapes.at("residual") == Shape{n_genes} && all_finite(scale) &&
                      std::all_of(scale.begin(), scale.end(), [](float x) { return x >= 0; });
    require(good, "residual.scale", "expected " + std::to_string(n_genes) + " finite values >= 0");
}

}  // namespace

void check_spec(const Spec& spec, const Shapes& shapes) {
    check_genes(spec);
    check_conditions(spec);
    if (spec.is_mixture) check_mixture(spec, shapes);
    check_library(spec, shapes);
    check_residual(spec, shapes);
}

}  // namespace vaexprs::artifact
