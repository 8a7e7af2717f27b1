#include <pybind11/stl.h>

#include "arguments.hpp"
#include "module.hpp"
#include "vaexprs/observation.hpp"

namespace vaexprs::bindings {

using namespace pybind11::literals;

namespace {

/// The parameters of one call, as they came; those that a likelihood does not have are null.
struct Call {
    Likelihood likelihood;
    const py::array* mean = nullptr;
    const py::array* scale = nullptr;
    const py::array* inverse_dispersion = nullptr;
    const py::array* zero_logits = nullptr;
};

ParameterRows parameter(const py::array* array, const char* name, py::ssize_t n_cells,
                        py::ssize_t n_genes) {
    if (array == nullptr) return {};
    if (array->ndim() == 1) return {input<float>(*array, name, {n_genes}), 0};
    if (array->ndim() == 2 && array->shape(0) == 1) {
        return {input<float>(*array, name, {1, n_genes}), 0};
    }
    return {input<float>(*array, name, {n_cells, n_genes}), static_cast<std::size_t>(n_genes)};
}

Observation parse(const Call& call) {
    const auto* mean = input<float>(*call.mean, "mean", {kAny, kAny});
    const py::ssize_t n_cells = call.mean->shape(0), n_genes = call.mean->shape(1);
    if (n_genes >= static_cast<py::ssize_t>(kMaxGenes)) {
        throw py::value_error("mean: expected fewer than 2^24 columns, got " +
                              std::to_string(n_genes) + ".");
    }
    return {call.likelihood,
            static_cast<std::size_t>(n_cells),
            static_cast<std::uint32_t>(n_genes),
            {mean, static_cast<std::size_t>(n_genes)},
            parameter(call.scale, "scale", n_cells, n_genes),
            parameter(call.inverse_dispersion, "inverse_dispersion", n_cells, n_genes),
            parameter(call.zero_logits, "zero_logits", n_cells, n_genes)};
}

py::array_t<float> dense(const Call& call, const Run& run) {
    const Observation observation = parse(call);
    py::array_t<float> out({call.mean->shape(0), call.mean->shape(1)});
    float* data = out.mutable_data();
    const py::gil_scoped_release release;
    sample_dense(observation, run, data);
    return out;
}

py::tuple csr(const Call& call, const Run& run) {
    const Observation observation = parse(call);
    Csr made = [&] {
        const py::gil_scoped_release release;
        return sample_csr(observation, run);
    }();
    py::array_t<std::int64_t> indptr(static_cast<py::ssize_t>(made.indptr.size()),
                                     made.indptr.data());
    return py::make_tuple(to_numpy(std::move(made.data)), to_numpy(std::move(made.indices)),
                          std::move(indptr));
}

using InstructionSet = std::optional<std::string>;

/// Registers sample_<name> and sample_<name>_csr; `Parameters` are the arrays after the mean.
template <class MakeCall, class... Names>
void define(py::module_& module, const std::string& name, const std::string& law,
            const MakeCall& make_call, const Names&... names) {
    const auto define_one = [&](const std::string& full_name, const std::string& text,
                                const auto& sample) {
        module.def(
            full_name.c_str(),
            [make_call, sample](const py::array& mean,
                                std::conditional_t<true, const py::array&, Names>... parameters,
                                const py::object& seed, const py::object& first_cell,
                                const py::object& n_threads,
                                const InstructionSet& instruction_set) {
                return sample(make_call(mean, parameters...),
                              parse_run(seed, first_cell, n_threads, instruction_set));
            },
            "mean"_a, py::arg(names)..., py::kw_only(), "seed"_a, "first_cell"_a = 0,
            "n_threads"_a = 1, "instruction_set"_a = py::none(), text.c_str());
    };
    define_one("sample_" + name, law + "\n\nReturns float32 values of the shape of `mean`.", dense);
    define_one("sample_" + name + "_csr",
               law +
                   "\n\nReturns the draws of sample_" + name +
                   " without their zeros, as (data, indices, indptr) of a CSR\n"
                   "matrix: float32, int32 rising within each row, int64.",
               csr);
}

}  // namespace

void bind_observation(py::module_& module) {
    define(module, "bernoulli", "1 with probability `mean`, else 0.",
           [](const py::array& mean) { return Call{Likelihood::bernoulli, &mean}; });
    define(module, "gaussian", "Normal with mean `mean` and standard deviation `scale`.",
           [](const py::array& mean, const py::array& scale) {
               return Call{Likelihood::gaussian, &mean, &scale};
           }, "scale");
    define(module, "poisson", "Poisson with mean `mean`.",
           [](const py::array& mean) { return Call{Likelihood::poisson, &mean}; });
    define(module, "nb",
           "Negative binomial with mean m and variance m + m^2 / inverse_dispersion.",
           [](const py::array& mean, const py::array& inverse_dispersion) {
               return Call{Likelihood::nb, &mean, nullptr, &inverse_dispersion};
           }, "inverse_dispersion");
    define(module, "zinb",
           "0 with probability sigmoid(zero_logits), else negative binomial.",
           [](const py::array& mean, const py::array& inverse_dispersion,
              const py::array& zero_logits) {
               return Call{Likelihood::zinb, &mean, nullptr, &inverse_dispersion, &zero_logits};
           }, "inverse_dispersion", "zero_logits");
    define(module, "zigamma",
           "0 with probability sigmoid(zero_logits), else gamma with mean m and variance\n"
           "m^2 / inverse_dispersion.",
           [](const py::array& mean, const py::array& inverse_dispersion,
              const py::array& zero_logits) {
               return Call{Likelihood::zigamma, &mean, nullptr, &inverse_dispersion, &zero_logits};
           }, "inverse_dispersion", "zero_logits");
}

}  // namespace vaexprs::bindings
