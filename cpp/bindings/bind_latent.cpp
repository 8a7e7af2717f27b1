#include <pybind11/stl.h>

#include "vaexprs/latent.hpp"

#include "arguments.hpp"
#include "module.hpp"

namespace vaexprs::bindings {

using namespace pybind11::literals;

namespace {

using InstructionSet = std::optional<std::string>;

void latent(py::array& out, const py::object& seed, const py::object& first_cell,
            const py::object& n_threads, const InstructionSet& instruction_set) {
    const Run run = parse_run(seed, first_cell, n_threads, instruction_set);
    float* data = output<float>(out, "out", {kAny, kAny});
    const auto n_cells = static_cast<std::size_t>(out.shape(0));
    const std::uint32_t n_latent = row_length(out, "out");
    const py::gil_scoped_release release;
    fill_latent(data, n_cells, n_latent, run);
}

/// Refuses offsets that do not rise from 0 to the number of components.
void check_offsets(std::span<const std::int64_t> offsets, std::size_t n_components) {
    bool good = offsets.size() >= 2 && offsets.front() == 0 &&
                offsets.back() == static_cast<std::int64_t>(n_components);
    for (std::size_t g = 0; good && g + 1 < offsets.size(); ++g)
        good = offsets[g] < offsets[g + 1];
    if (!good) {
        throw py::value_error(
            "offsets: expected integers that rise from 0 to the number of "
            "components, " +
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
                "weights: expected values >= 0 with a positive, finite sum in "
                "each group; group " +
                std::to_string(g) + " has none.");
        }
    }
}

void latent_mixture(py::array& out, const py::array& group, const py::array& offsets,
                    const py::array& weights, const py::array& means, const py::array& tril,
                    const py::array& factor, const py::object& seed, const py::object& first_cell,
                    const py::object& n_threads, const InstructionSet& instruction_set) {
    const Run run = parse_run(seed, first_cell, n_threads, instruction_set);
    float* data = output<float>(out, "out", {kAny, kAny});
    const py::ssize_t n_dim = out.shape(1);
    const std::uint32_t row = row_length(out, "out");
    const auto* g = input<std::int32_t>(group, "group", {out.shape(0)});
    const auto* o = input<std::int64_t>(offsets, "offsets", {kAny});
    const auto* w = input<double>(weights, "weights", {kAny});
    const py::ssize_t n_components = weights.shape(0);
    const auto* m = input<float>(means, "means", {n_components, n_dim});
    const auto* t = input<float>(tril, "tril", {kAny, n_dim, n_dim});
    const auto* f = input<std::int32_t>(factor, "factor", {n_components});

    const auto n_cells = static_cast<std::size_t>(out.shape(0));
    const auto size = static_cast<std::size_t>(n_components);
    const Mixture mixture{
        row, {o, static_cast<std::size_t>(offsets.shape(0))}, {w, size}, m, t, {f, size}};
    check_offsets(mixture.offsets, size);
    check_weights(mixture.weights, mixture.offsets);
    check_range(f, size, "factor", 0, tril.shape(0));
    check_range(g, n_cells, "group", 0, offsets.shape(0) - 1);
    check_finite(m, static_cast<std::size_t>(means.size()), "means");
    check_finite(t, static_cast<std::size_t>(tril.size()), "tril");
    const py::gil_scoped_release release;
    fill_latent_mixture(data, {g, n_cells}, mixture, run);
}

py::array_t<float> reparameterized(const py::array& mean, const py::array& log_variance,
                                   const py::object& seed, const py::object& first_cell,
                                   const py::object& n_threads,
                                   const InstructionSet& instruction_set) {
    const Run run = parse_run(seed, first_cell, n_threads, instruction_set);
    const auto* m = input<float>(mean, "mean", {kAny, kAny});
    const auto* v = input<float>(log_variance, "log_variance", {mean.shape(0), mean.shape(1)});
    const auto size = static_cast<std::size_t>(mean.size());
    check_finite(m, size, "mean");
    check_finite(v, size, "log_variance");
    py::array_t<float> out({mean.shape(0), mean.shape(1)});
    float* data = out.mutable_data();
    const auto n_cells = static_cast<std::size_t>(mean.shape(0));
    const std::uint32_t n_latent = row_length(mean, "mean");
    const py::gil_scoped_release release;
    reparameterize(m, v, data, n_cells, n_latent, run);
    return out;
}

void library(py::array& out, const py::array& group, const py::array& location,
             const py::array& scale, const py::object& seed, const py::object& first_cell,
             const py::object& n_threads) {
    const Run run = parse_run(seed, first_cell, n_threads, std::nullopt);
    float* data = output<float>(out, "out", {kAny});
    const auto* g = input<std::int32_t>(group, "group", {out.shape(0)});
    const auto* l = input<float>(location, "location", {kAny});
    const auto* s = input<float>(scale, "scale", {location.shape(0)});
    const auto n_groups = static_cast<std::size_t>(location.shape(0));
    check_finite(l, n_groups, "location");
    check_finite(s, n_groups, "scale");
    for (std::size_t i = 0; i < n_groups; ++i) {
        if (s[i] < 0.0f) {
            throw py::value_error("scale: expected values >= 0, got " + std::to_string(s[i]) +
                                  " at position " + std::to_string(i) + ".");
        }
    }
    const auto n_cells = static_cast<std::size_t>(out.shape(0));
    check_range(g, n_cells, "group", 0, location.shape(0));
    const py::gil_scoped_release release;
    fill_library(data, {g, n_cells}, l, s, run);
}

}  // namespace

void bind_latent(py::module_& module) {
    module.def("fill_latent", latent, "out"_a, py::kw_only(), "seed"_a, "first_cell"_a = 0,
               "n_threads"_a = 1, "instruction_set"_a = py::none(),
               "Fill `out`, (n_cells, n_latent) float32, with standard normals.");
    module.def(
        "fill_latent_mixture", latent_mixture, "out"_a, "group"_a, "offsets"_a, "weights"_a,
        "means"_a, "tril"_a, "factor"_a, py::kw_only(), "seed"_a, "first_cell"_a = 0,
        "n_threads"_a = 1, "instruction_set"_a = py::none(),
        "Fill `out`, (n_cells, n_dim) float32, with draws from the Gaussian mixture of each\n"
        "cell's group: means[c] + tril[factor[c]] @ e, with c chosen by weight among\n"
        "offsets[group]:offsets[group + 1] and the e that fill_latent would give.");
    module.def("reparameterize", reparameterized, "mean"_a, "log_variance"_a, py::kw_only(),
               "seed"_a, "first_cell"_a = 0, "n_threads"_a = 1, "instruction_set"_a = py::none(),
               "mean + exp(log_variance / 2) * e, (n_cells, n_latent) float32, with the e that\n"
               "fill_latent would give.");
    module.def("fill_library", library, "out"_a, "group"_a, "location"_a, "scale"_a, py::kw_only(),
               "seed"_a, "first_cell"_a = 0, "n_threads"_a = 1,
               "Fill `out`, (n_cells,) float32, with exp(location[group] + scale[group] * e).");
}

}  // namespace vaexprs::bindings
