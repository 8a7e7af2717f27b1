#include "spec.hpp"

#include <algorithm>
#include <cmath>

#include "vaexprs/likelihoods.hpp"

#include "entries.hpp"
#include "names.hpp"
#include "spec_checks.hpp"

namespace vaexprs::artifact {

namespace {

constexpr std::size_t kMaxGenes = 1'000'000, kMaxLatent = 10'000, kMaxConditions = 100'000;

/// Reads and checks the entries one after the other.
class Reader {
  public:
    explicit Reader(const Entries& metadata) : metadata_(metadata) {}

    Spec read() {
        const std::int64_t version = typed<std::int64_t>(entry("format_version"), "format_version");
        if (version > 1) {
            throw std::invalid_argument(
                "the artifact has format " + std::to_string(version) +
                ", newer than this vaexprs, which reads up to format 1: upgrade vaexprs.");
        }
        if (version < 1)
            refuse("format_version", "is " + std::to_string(version) + ", expected at least 1");
        spec_.likelihood = typed<std::string>(entry("likelihood"), "likelihood");
        const bool known =
            std::any_of(std::begin(kLikelihoods), std::end(kLikelihoods),
                        [&](const Likelihood& row) { return spec_.likelihood == row.name; });
        if (!known) refuse("likelihood", quoted(spec_.likelihood) + ": is unknown");
        spec_.observation = typed<std::string>(entry("observation"), "observation");
        const Json library = entry("library");
        if (!library.is<std::nullptr_t>() && !library.is<Object>()) {
            refuse("library", std::string("must be an object or null, not ") + library.kind());
        }
        const std::int64_t n_latent = typed<std::int64_t>(entry("n_latent"), "n_latent");
        check_size("n_latent", n_latent < 0 ? 0 : static_cast<std::size_t>(n_latent), kMaxLatent);
        require(n_latent >= 1, "n_latent", "must be at least 1, not " + std::to_string(n_latent));
        spec_.n_latent = static_cast<std::uint32_t>(n_latent);
        const Json names = entry("var_names");
        spec_.var_names = strings(typed<List>(names, "var_names"), "var_names");
        check_size("var_names", spec_.var_names.size(), kMaxGenes);
        read_conditions(entry("conditions"));
        read_prior(entry("prior"));
        if (library.is<Object>()) read_library(library);
        if (has("normalisation")) read_normalisation(entry("normalisation"));
        if (has("var")) read_var(entry("var"));
        if (has("residual")) {
            const Json residual = entry("residual");
            typed<Object>(residual, "residual");
            Array<float> made = array<float>(residual, "scale", "residual");
            shapes_["residual"] = made.shape;
            spec_.residual = std::move(made.values);
        }
        for (const char* free : {"provenance", "architecture", "precision"})
            typed<Object>(entry(free), free);
        if (has("quality")) typed<Object>(entry("quality"), "quality");
        check_spec(spec_, shapes_);
        return std::move(spec_);
    }

  private:
    bool has(const std::string& key) const { return metadata_.contains("vaexprs." + key); }

    Json entry(const std::string& key) const { return read_entry(metadata_, key); }

    void read_conditions(const Json& value) {
        typed<Object>(value, "conditions");
        std::size_t n_categories = 0;
        for (const Json& key : member<List>(value, "keys", "conditions")) {
            const std::string part = "conditions.keys";
            typed<Object>(key, part);
            Key made;
            made.name = strings({Json{member<std::string>(key, "name", part)}}, part)[0];
            made.categories = strings(member<List>(key, "categories", part), part);
            member<bool>(key, "ordered", part);
            made.dtype =
                key.find("dtype") == nullptr ? "str" : member<std::string>(key, "dtype", part);
            n_categories += made.categories.size();
            spec_.sizes.push_back(static_cast<std::int32_t>(made.categories.size()));
            spec_.keys.push_back(std::move(made));
        }
        check_size("conditions", n_categories, kMaxConditions);
        append_integers(member<List>(value, "n_cells", "conditions"), "conditions.n_cells",
                        spec_.n_cells);
        check_size("conditions.n_cells", spec_.n_cells.size(), kMaxConditions);
        const List& rows = member<List>(value, "combinations", "conditions");
        if (rows.size() != spec_.n_cells.size()) {
            refuse("conditions", "has " + std::to_string(rows.size()) + " combinations and " +
                                     std::to_string(spec_.n_cells.size()) + " n_cells");
        }
        for (const Json& row : rows) {
            if (!row.is<List>() || row.as<List>().size() != spec_.keys.size()) {
                refuse("conditions.combinations", "must have " + std::to_string(spec_.keys.size()) +
                                                      " codes, one for each key");
            }
            append_integers(row.as<List>(), "conditions.combinations", spec_.seen);
        }
    }

    void read_prior(const Json& value) {
        typed<Object>(value, "prior");
        const auto& kind = member<std::string>(value, "kind", "prior");
        spec_.is_mixture = kind != "standard_normal";
        spec_.with_log_library = member<bool>(value, "with_log_library", "prior");
        const auto take = [&]<class T>(const char* name, std::vector<T>& to) {
            Array<T> made = array<T>(value, name, "prior");
            shapes_[name] = made.shape;
            if (spec_.is_mixture) to = std::move(made.values);
        };
        take("offsets", spec_.offsets);
        take("weights", spec_.weights);
        take("means", spec_.means);
        take("tril", spec_.tril);
        take("factor", spec_.factor);
        require(!spec_.is_mixture || kind == "gaussian_mixture", "prior",
                "unknown kind '" + kind.substr(0, 80) + "'");
    }

    void read_library(const Json& value) {
        spec_.library_kind = member<std::string>(value, "kind", "library");
        const auto take = [&](const char* name, std::vector<float>& to) {
            Array<float> made = array<float>(value, name, "library");
            shapes_[name] = made.shape;
            to = std::move(made.values);
        };
        take("minimum", spec_.minimum);
        take("maximum", spec_.maximum);
        take("location", spec_.location);
        take("scale", spec_.scale);
    }

    void read_normalisation(const Json& value) {
        typed<Object>(value, "normalisation");
        Normalisation& made = spec_.normalisation.emplace();
        const auto number = [&](const char* name) {
            const std::string part = std::string("normalisation.") + name;
            const Json& found = member(value, name, "normalisation");
            const bool is_base = part.ends_with(".log_base");
            if (is_base && found.is<std::nullptr_t>()) return 0.0;
            if (!found.is<std::int64_t>() && !found.is<double>()) {
                refuse(part, std::string("must be a whole number or a number") +
                                 (is_base ? " or null" : "") + ", not " + found.kind());
            }
            const double x = found.is<double>() ? found.as<double>()
                                                : static_cast<double>(found.as<std::int64_t>());
            if (std::abs(x) > 1e6) refuse(part, "must lie in [-1e6, 1e6]");
            if (is_base) require(x > 1.0, part, "must exceed 1");
            if (!is_base && !part.ends_with(".pseudocount"))
                require(std::abs(x) <= 80.0, part, "must lie in [-80, 80]");
            return x;
        };
        const double base = number("log_base"), pseudocount = number("pseudocount");
        made.log_base = static_cast<float>(base);
        made.pseudocount = static_cast<float>(pseudocount);
        made.log_sum = static_cast<float>(number("log_sum"));
        made.slope = static_cast<float>(number("slope"));
        made.deviation = static_cast<float>(number("deviation"));
        made.centre = static_cast<float>(number("centre"));
        require(pseudocount == 0.0 || pseudocount == 1.0, "normalisation.pseudocount",
                "must be 0 or 1");
        require(made.deviation >= 0.0f, "normalisation.deviation", "must not be negative");
        const bool is_real = spec_.likelihood == "bernoulli" || spec_.likelihood == "gaussian";
        require(!is_real, "normalisation", "does not go with '" + spec_.likelihood + "'");
    }

    void read_var(const Json& value) {
        for (const auto& [name, texts] : typed<Object>(value, "var")) {
            strings({Json{name}}, "var");
            const std::size_t n = strings(typed<List>(texts, "var." + name), "var").size();
            const std::string problem = column_problem(name), shown = quoted(name);
            require(problem.empty(), "var", "the column " + shown + " " + problem);
            require(n == spec_.var_names.size(), "var",
                    "expected " + std::to_string(spec_.var_names.size()) + " texts in " + shown +
                        ", got " + std::to_string(n));
        }
    }

    const Entries& metadata_;
    Spec spec_;
    Shapes shapes_;
};

}  // namespace

LatentLaw Spec::law() const {
    LatentLaw law{n_latent, with_log_library, {}, {}};
    if (is_mixture) law.mixture = {offsets, weights, means.data(), tril.data(), factor};
    if (library_kind) law.library = {minimum.data(), maximum.data(), location.data(), scale.data()};
    return law;
}

Interface Spec::interface() const {
    Interface made;
    made.inputs.emplace_back("z", n_latent);
    std::int64_t width = 0;
    for (const std::int32_t size : sizes)
        width += size;
    if (!keys.empty()) made.inputs.emplace_back("condition", width);
    if (library_kind) made.inputs.emplace_back("library", 1);
    const Likelihood& row = likelihood_named(likelihood);
    const std::size_t n = row.n_parameters();
    for (std::size_t k = 0; k < n; ++k)
        made.outputs.emplace_back(row.parameters[k].name);
    made.n_genes = static_cast<std::int64_t>(var_names.size());
    made.n_combinations = static_cast<std::int64_t>(n_cells.size());
    return made;
}

Spec read_spec(const Entries& metadata) {
    return Reader(metadata).read();
}

}  // namespace vaexprs::artifact
