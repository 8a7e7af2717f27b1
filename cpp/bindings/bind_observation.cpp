#include <pybind11/stl.h>

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

}  // namespace

void bind_observation(py::module_& module) {
    module.def("observe", observe, "likelihood"_a, "outputs"_a, py::kw_only(), "seed"_a,
               "first_cell"_a = 0, "streams"_a = py::none(), "rounded"_a = false,
               "library"_a = py::none(), "bias"_a = py::none(), "n_threads"_a = 1,
               "instruction_set"_a = py::none(),
               "Draw the values of consecutive cells from a likelihood, given the outputs of a\n"
               "decoder, as (data, indices, indptr) of a CSR matrix.");
    module.def("means", means, "likelihood"_a, "outputs"_a, py::kw_only(), "library"_a = py::none(),
               "bias"_a = py::none(), "n_threads"_a = 1, "instruction_set"_a = py::none(),
               "Return the checked means: as they are, or library * softmax(logits + bias).");
}

}  // namespace vaexprs::bindings
