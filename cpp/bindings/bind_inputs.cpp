#include <pybind11/stl.h>

#include "vaexprs/inputs.hpp"

#include "arguments.hpp"
#include "module.hpp"

namespace vaexprs::bindings {

using namespace pybind11::literals;

namespace {

template <class T>
std::span<const T> view(const py::array& array, const char* name,
                        std::initializer_list<py::ssize_t> shape) {
    return {input<T>(array, name, shape), static_cast<std::size_t>(array.size())};
}

/// Refuses offsets that do not rise from 0 to the number of components.
void check_offsets(std::span<const std::int64_t> offsets, std::size_t n_components) {
    bool good = offsets.front() == 0 && offsets.back() == static_cast<std::int64_t>(n_components);
    for (std::size_t g = 0; good && g + 1 < offsets.size(); ++g)
        good = offsets[g] < offsets[g + 1];
    if (!good) {
        throw py::value_error(
            "offsets: expected integers that rise from 0 to the number of components, " +
            std::to_string(n_components) + ".");
    }
}

void check_weights(std::span<const double> weights, std::span<const std::int64_t> offsets) {
    for (std::size_t g = 0; g + 1 < offsets.size(); ++g) {
        double total = 0.0;
        for (auto c = static_cast<std::size_t>(offsets[g]);
             c < static_cast<std::size_t>(offsets[g + 1]); ++c) {
            total += weights[c] >= 0.0 ? weights[c] : std::numeric_limits<double>::quiet_NaN();
        }
        if (!(total > 0.0 && total <= std::numeric_limits<double>::max())) {
            throw py::value_error(
                "weights: expected values >= 0 with a positive, finite sum in each group; group " +
                std::to_string(g) + " has none.");
        }
    }
}

/// The arrays of `prior`: offsets, weights, means, tril, factor.
Mixture parse_mixture(const std::vector<py::array>& arrays, std::size_t n_groups,
                      py::ssize_t n_dim) {
    if (arrays.size() != 5) throw py::value_error("prior: expected five arrays.");
    Mixture mixture;
    mixture.offsets =
        view<std::int64_t>(arrays[0], "offsets", {static_cast<py::ssize_t>(n_groups) + 1});
    mixture.weights = view<double>(arrays[1], "weights", {kAny});
    const py::ssize_t n_components = arrays[1].shape(0);
    mixture.means = input<float>(arrays[2], "means", {n_components, n_dim});
    mixture.tril = input<float>(arrays[3], "tril", {kAny, n_dim, n_dim});
    mixture.factor = view<std::int32_t>(arrays[4], "factor", {n_components});
    check_offsets(mixture.offsets, mixture.weights.size());
    check_weights(mixture.weights, mixture.offsets);
    check_range(mixture.factor.data(), mixture.factor.size(), "factor", 0, arrays[3].shape(0));
    check_finite(mixture.means, static_cast<std::size_t>(arrays[2].size()), "means");
    check_finite(mixture.tril, static_cast<std::size_t>(arrays[3].size()), "tril");
    return mixture;
}

/// The arrays of `library`: minimum, maximum, location, scale.
LibraryLaw parse_library(const std::vector<py::array>& arrays, std::size_t n_groups) {
    if (arrays.size() != 4) throw py::value_error("library: expected four arrays.");
    const float* made[4];
    const char* names[] = {"minimum", "maximum", "location", "scale"};
    for (std::size_t i = 0; i < 4; ++i) {
        made[i] = input<float>(arrays[i], names[i], {static_cast<py::ssize_t>(n_groups)});
        check_finite(made[i], n_groups, names[i]);
    }
    for (std::size_t g = 0; g < n_groups; ++g) {
        if (!(0.0f <= made[0][g] && made[0][g] <= made[1][g]))
            throw py::value_error("maximum: expected at least the minimum, which is at least 0.");
        if (made[3][g] < 0.0f)
            throw py::value_error("scale: expected values >= 0, got " + std::to_string(made[3][g]) +
                                  " at position " + std::to_string(g) + ".");
    }
    return {made[0], made[1], made[2], made[3]};
}

Plan parse_plan(const py::array& bounds, const py::array& groups, bool endless,
                py::ssize_t n_groups) {
    Plan plan{endless, view<std::uint64_t>(bounds, "bounds", {kAny}),
              view<std::int32_t>(groups, "groups", {bounds.shape(0)})};
    if (plan.bounds.empty()) throw py::value_error("bounds: expected at least one.");
    check_range(plan.groups.data(), plan.groups.size(), "groups", 0, n_groups);
    return plan;
}

void check_codes(std::span<const std::int32_t> codes, std::span<const std::int32_t> sizes,
                 const char* name) {
    for (std::size_t i = 0; i < codes.size(); ++i) {
        const std::size_t key = i % sizes.size();
        if (codes[i] >= 0 && codes[i] < sizes[key]) continue;
        throw py::value_error(std::string(name) + ": expected values from 0 to " +
                              std::to_string(sizes[key] - 1) + " for key " + std::to_string(key) +
                              ", got " + std::to_string(codes[i]) + " at row " +
                              std::to_string(i / sizes.size()) + ".");
    }
}

using Keys = std::vector<std::pair<py::str, py::sequence>>;

/// UTF-8, lone surrogates as three bytes like other characters.
std::string text_of(const py::handle& name) {
    const auto bytes = py::reinterpret_steal<py::bytes>(
        PyUnicode_AsEncodedString(name.ptr(), "utf-8", "surrogatepass"));
    if (!bytes) throw py::error_already_set();
    return bytes;
}

/// The streams of combinations from the names of keys and their categories.
std::vector<std::uint32_t> streams_of(const Keys& keys, std::span<const std::int32_t> codes,
                                      std::size_t n_groups) {
    std::vector<std::uint32_t> streams;
    for (std::size_t g = 0; g < n_groups; ++g) {
        std::vector<std::string> names;
        for (std::size_t k = 0; k < keys.size(); ++k) {
            const auto& [key, categories] = keys[k];
            const auto code = static_cast<std::size_t>(codes[g * keys.size() + k]);
            names.push_back(text_of(key));
            names.push_back(text_of(py::object(categories[code])));
        }
        streams.push_back(stream_of(names));
    }
    return streams;
}

/// Inputs with the arrays that they look at.
struct BoundInputs {
    std::vector<py::object> arrays;
    std::unique_ptr<const Inputs> inputs;
};

std::unique_ptr<BoundInputs> make_inputs(const py::array& sizes, const py::array& seen,
                                         const py::array& n_cells, const py::array& combinations,
                                         const py::array& bounds, const py::array& groups,
                                         bool endless, std::uint32_t n_latent,
                                         bool with_log_library,
                                         const std::optional<std::vector<py::array>>& prior,
                                         const std::optional<std::vector<py::array>>& library,
                                         const Keys& keys) {
    auto made = std::make_unique<BoundInputs>();
    for (const py::array& array : {sizes, seen, n_cells, combinations, bounds, groups})
        made->arrays.push_back(array);
    for (const auto& some : {prior, library}) {
        if (some) made->arrays.insert(made->arrays.end(), some->begin(), some->end());
    }

    Conditions conditions{view<std::int32_t>(sizes, "sizes", {kAny}),
                          {},
                          view<std::int64_t>(n_cells, "n_cells", {kAny})};
    const py::ssize_t n_keys = sizes.shape(0), n_groups = combinations.shape(0);
    check_range(conditions.sizes.data(), conditions.sizes.size(), "sizes", 1,
                std::int64_t{1} << 31);
    conditions.seen = view<std::int32_t>(seen, "seen", {n_cells.shape(0), n_keys});
    const auto codes = view<std::int32_t>(combinations, "combinations", {kAny, n_keys});
    check_codes(conditions.seen, conditions.sizes, "seen");
    check_codes(codes, conditions.sizes, "combinations");
    if (conditions.n_seen() == 0) throw py::value_error("seen: expected at least one row.");
    for (const std::int64_t n : conditions.n_cells) {
        if (n < 1) throw py::value_error("n_cells: expected at least 1 of each combination.");
    }

    LatentLaw law{n_latent, with_log_library, {}, {}};
    if (n_latent < 1 || n_latent >= std::uint32_t{1} << 24)
        throw py::value_error("n_latent: expected an integer from 1 to 2^24 - 1.");
    if (prior) law.mixture = parse_mixture(*prior, conditions.n_seen(), law.n_dim());
    if (library) law.library = parse_library(*library, conditions.n_seen());
    if (with_log_library && !(prior && library))
        throw py::value_error("with_log_library: expected a prior and bounds of library sizes.");

    const Plan plan = parse_plan(bounds, groups, endless, n_groups);
    if (static_cast<py::ssize_t>(keys.size()) != n_keys)
        throw py::value_error("keys: expected " + std::to_string(n_keys) + " of them.");
    for (std::size_t k = 0; k < keys.size(); ++k) {
        if (keys[k].second.size() != static_cast<std::size_t>(conditions.sizes[k]))
            throw py::value_error("keys: expected the categories that sizes count.");
    }
    auto streams = streams_of(keys, codes, static_cast<std::size_t>(n_groups));
    const py::gil_scoped_release release;
    made->inputs = std::make_unique<Inputs>(conditions, law, plan, codes, std::move(streams));
    return made;
}

py::tuple draw(const BoundInputs& self, const py::object& seed, const py::object& first_cell,
               py::ssize_t n_cells) {
    const Inputs& inputs = *self.inputs;
    const Run run = parse_run(seed, first_cell, py::int_(1), std::nullopt);
    if (n_cells < 0) throw py::value_error("n_cells: expected >= 0.");
    const auto wide = [&](std::size_t width) {
        return std::vector<py::ssize_t>{n_cells, static_cast<py::ssize_t>(width)};
    };
    py::array_t<std::int32_t> codes(wide(inputs.conditions().n_keys()));
    py::array_t<bool> unseen(n_cells);
    py::array_t<std::uint32_t> streams(n_cells);
    py::array_t<float> z(wide(inputs.law().n_latent));
    InputRows rows{codes.mutable_data(),
                   unseen.mutable_data(),
                   streams.mutable_data(),
                   z.mutable_data(),
                   nullptr,
                   nullptr};
    py::object condition = py::none(), library = py::none();
    if (inputs.conditions().n_keys() > 0) {
        py::array_t<float> made(wide(inputs.n_conditions()));
        rows.condition = made.mutable_data();
        condition = std::move(made);
    }
    if (inputs.law().library.location != nullptr) {
        py::array_t<float> made(n_cells);
        rows.library = made.mutable_data();
        library = std::move(made);
    }
    {
        const py::gil_scoped_release release;
        inputs.draw(run, static_cast<std::size_t>(n_cells), rows);
    }
    return py::make_tuple(codes, unseen, streams, z, condition, library);
}

py::array_t<std::int32_t> plan_groups(const py::array& bounds, const py::array& groups,
                                      bool endless, const py::object& seed,
                                      const py::object& first_cell, py::ssize_t n_cells) {
    const Run run = parse_run(seed, first_cell, py::int_(1), std::nullopt);
    const Plan plan = parse_plan(bounds, groups, endless, py::ssize_t{1} << 31);
    if (n_cells < 0) throw py::value_error("n_cells: expected >= 0.");
    py::array_t<std::int32_t> out(n_cells);
    fill_groups(plan, run.seed, run.first_cell, static_cast<std::size_t>(n_cells),
                out.mutable_data());
    return out;
}

}  // namespace

void bind_inputs(py::module_& module) {
    py::class_<BoundInputs>(module, "Inputs")
        .def(py::init(&make_inputs), py::kw_only(), "sizes"_a, "seen"_a, "n_cells"_a,
             "combinations"_a, "bounds"_a, "groups"_a, "endless"_a, "n_latent"_a,
             "with_log_library"_a, "prior"_a, "library"_a, "keys"_a)
        .def("draw", draw, py::kw_only(), "seed"_a, "first_cell"_a, "n_cells"_a);
    module.def("plan_groups", plan_groups, "bounds"_a, "groups"_a, "endless"_a, py::kw_only(),
               "seed"_a, "first_cell"_a, "n_cells"_a);
}

}  // namespace vaexprs::bindings
