#include <cmath>

#include <pybind11/stl.h>

#include "vaexprs/normalisation.hpp"
#include "vaexprs/observation.hpp"

#include "arguments.hpp"
#include "module.hpp"

namespace vaexprs::bindings {

using namespace pybind11::literals;

namespace {

using MaybeArray = std::optional<py::array>;
using InstructionSet = std::optional<std::string>;

ParameterRows parameter_rows(const py::array& array, const char* name, py::ssize_t n_cells,
                             py::ssize_t n_genes) {
    if (array.ndim() == 1) return {input<float>(array, name, {n_genes}), 0};
    if (array.ndim() == 2 && array.shape(0) == 1)
        return {input<float>(array, name, {1, n_genes}), 0};
    return {input<float>(array, name, {n_cells, n_genes}), static_cast<std::size_t>(n_genes)};
}

Softmax parse_softmax(const Likelihood& likelihood, const MaybeArray& library,
                      const MaybeArray& bias, py::ssize_t n_cells, py::ssize_t n_genes) {
    if (!library && !bias) return {};
    if (!likelihood.takes_logits) {
        throw py::value_error(std::string("library: expected none, since ") + likelihood.name +
                              " takes means and no logits.");
    }
    if (!library)
        throw py::value_error("library: expected one for each cell, since logits have a bias.");
    Softmax softmax{input<float>(*library, "library", {n_cells})};
    if (bias) {
        softmax.bias = input<float>(*bias, "bias", {n_genes});
        check_finite(softmax.bias, static_cast<std::size_t>(n_genes), "bias");
    }
    return softmax;
}

/// Views of the arrays of one call, which must outlive them.
Observation parse(const Likelihood& likelihood, const std::vector<py::array>& outputs,
                  const MaybeArray& library, const MaybeArray& bias) {
    const std::size_t n = likelihood.n_parameters();
    if (outputs.size() != n) {
        std::string names;
        for (std::size_t k = 0; k < n; ++k)
            names += (k > 0 ? ", " : "") + std::string(likelihood.parameters[k].name);
        throw py::type_error(std::string(likelihood.name) + " has " + std::to_string(n) +
                             " parameters (" + names + "), got " + std::to_string(outputs.size()) +
                             ".");
    }
    const auto* mean = input<float>(outputs[0], "mean", {kAny, kAny});
    const py::ssize_t n_cells = outputs[0].shape(0), n_genes = outputs[0].shape(1);
    if (n_genes >= static_cast<py::ssize_t>(kMaxGenes)) {
        throw py::value_error("mean: expected fewer than 2^24 columns, got " +
                              std::to_string(n_genes) + ".");
    }
    Observation observation{&likelihood,
                            static_cast<std::size_t>(n_cells),
                            static_cast<std::uint32_t>(n_genes),
                            {{mean, static_cast<std::size_t>(n_genes)}}};
    for (std::size_t k = 1; k < n; ++k) {
        observation.parameters[k] =
            parameter_rows(outputs[k], likelihood.parameters[k].name, n_cells, n_genes);
    }
    observation.softmax = parse_softmax(likelihood, library, bias, n_cells, n_genes);
    return observation;
}

py::tuple observe(const std::string& likelihood, const std::vector<py::array>& outputs,
                  const py::object& seed, const py::object& first_cell, const MaybeArray& streams,
                  bool rounded, const MaybeArray& library, const MaybeArray& bias,
                  const py::object& n_threads, const InstructionSet& instruction_set) {
    Run run = parse_run(seed, first_cell, n_threads, instruction_set);
    Observation observation = parse(likelihood_named(likelihood), outputs, library, bias);
    if (rounded && observation.likelihood->parameters[0].support.low < 0.0f)
        throw py::value_error("rounded: expected False, since " + likelihood + " may be negative.");
    observation.rounded = rounded;
    if (streams) run.streams = input<std::uint32_t>(*streams, "streams", {outputs[0].shape(0)});
    Csr made = [&] {
        const py::gil_scoped_release release;
        return sample_csr(observation, run);
    }();
    py::array_t<std::int64_t> indptr(static_cast<py::ssize_t>(made.indptr.size()),
                                     made.indptr.data());
    return py::make_tuple(to_numpy(std::move(made.data)), to_numpy(std::move(made.indices)),
                          std::move(indptr));
}

py::array_t<float> means(const std::string& likelihood, const std::vector<py::array>& outputs,
                         const MaybeArray& library, const MaybeArray& bias,
                         const py::object& n_threads, const InstructionSet& instruction_set) {
    const Run run = parse_run(py::int_(0), py::int_(0), n_threads, instruction_set);
    const Observation observation = parse(likelihood_named(likelihood), outputs, library, bias);
    py::array_t<float> out({static_cast<py::ssize_t>(observation.n_cells),
                            static_cast<py::ssize_t>(observation.n_genes)});
    float* data = out.mutable_data();
    const py::gil_scoped_release release;
    write_means(observation, run, data);
    return out;
}

void normalise_rows(py::array& data, const py::array& indptr, const py::object& seed,
                    const py::object& first_cell, const std::optional<py::array>& streams,
                    const Normalisation& law) {
    Run run = parse_run(seed, first_cell, py::int_(1), std::nullopt);
    float* values = output<float>(data, "data", {kAny});
    const auto* bounds = input<std::int64_t>(indptr, "indptr", {kAny});
    const auto n_bounds = static_cast<std::size_t>(indptr.shape(0));
    bool good = n_bounds >= 1 && bounds[0] == 0 && bounds[n_bounds - 1] == data.shape(0);
    for (std::size_t i = 0; good && i + 1 < n_bounds; ++i)
        good = bounds[i] <= bounds[i + 1];
    if (!good) throw py::value_error("indptr: expected bounds that rise from 0 to len(data).");
    if (streams) run.streams = input<std::uint32_t>(*streams, "streams", {indptr.shape(0) - 1});
    const bool finite = std::isfinite(law.log_sum) && std::isfinite(law.slope) &&
                        std::isfinite(law.deviation) && std::isfinite(law.centre);
    if (!finite || !(law.log_base == 0.0f || (law.log_base > 1.0f && std::isfinite(law.log_base))))
        throw py::value_error("normalisation: expected finite numbers and a base of 0 or above 1.");
    const py::gil_scoped_release release;
    normalise({values, static_cast<std::size_t>(data.shape(0))}, {bounds, n_bounds}, law, run);
}

}  // namespace

void bind_observation(py::module_& module) {
    module.def("observe", observe, "likelihood"_a, "outputs"_a, py::kw_only(), "seed"_a,
               "first_cell"_a = 0, "streams"_a = py::none(), "rounded"_a = false,
               "library"_a = py::none(), "bias"_a = py::none(), "n_threads"_a = 1,
               "instruction_set"_a = py::none());
    module.def("means", means, "likelihood"_a, "outputs"_a, py::kw_only(), "library"_a = py::none(),
               "bias"_a = py::none(), "n_threads"_a = 1, "instruction_set"_a = py::none());
    module.def(
        "normalise",
        [](py::array& data, const py::array& indptr, const py::object& seed,
           const py::object& first_cell, const std::optional<py::array>& streams, float log_base,
           float pseudocount, float log_sum, float slope, float deviation, float centre) {
            normalise_rows(data, indptr, seed, first_cell, streams,
                           {log_base, pseudocount, log_sum, slope, deviation, centre});
        },
        "data"_a, "indptr"_a, py::kw_only(), "seed"_a, "first_cell"_a = 0, "streams"_a = py::none(),
        "log_base"_a, "pseudocount"_a, "log_sum"_a, "slope"_a, "deviation"_a, "centre"_a);
}

}  // namespace vaexprs::bindings
