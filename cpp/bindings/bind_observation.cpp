#include <pybind11/stl.h>

#include "vaexprs/observation.hpp"

#include "arguments.hpp"
#include "module.hpp"

namespace vaexprs::bindings {

using namespace pybind11::literals;

namespace {

/// What comes with logits in place of means; no library where means came.
struct Logits {
    std::optional<py::array> library{}, bias{};
};

/// The parameters of one call, as they came; those that a likelihood does not have are null.
struct Call {
    Likelihood likelihood;
    const py::array* mean = nullptr;
    const py::array* scale = nullptr;
    const py::array* inverse_dispersion = nullptr;
    const py::array* zero_logits = nullptr;
    Logits logits{};
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

Softmax parse(const Logits& logits, py::ssize_t n_cells, py::ssize_t n_genes) {
    if (logits.bias && !logits.library) {
        throw py::value_error("library: expected one for each cell, since logits have a bias.");
    }
    if (!logits.library) return {};
    Softmax softmax{input<float>(*logits.library, "library", {n_cells})};
    if (logits.bias) {
        softmax.bias = input<float>(*logits.bias, "bias", {n_genes});
        check_finite(softmax.bias, static_cast<std::size_t>(n_genes), "bias");
    }
    return softmax;
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
            parameter(call.zero_logits, "zero_logits", n_cells, n_genes),
            parse(call.logits, n_cells, n_genes)};
}

void softmax_means_into(py::array& out, const py::array& logits, const py::array& library,
                        const std::optional<py::array>& bias, const py::object& n_threads,
                        const std::optional<std::string>& instruction_set) {
    Call call{Likelihood::poisson, &logits};
    call.logits = {library, bias};
    const Observation observation = parse(call);
    auto* data = output<float>(out, "out", {logits.shape(0), logits.shape(1)});
    const Run run = parse_run(py::int_(0), py::int_(0), n_threads, instruction_set);
    const py::gil_scoped_release release;
    softmax_means(observation, run, data);
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

enum class Means { given, or_logits };

/// Registers sample_<name> and sample_<name>_csr; `names` are those of the arrays after the mean.
template <Means means = Means::given, class MakeCall, class... Names>
void define(py::module_& module, const std::string& name, const std::string& law,
            const MakeCall& make_call, const Names&... names) {
    const auto define_one = [&](const std::string& full_name, const std::string& text,
                                const auto& sample) {
        const auto call = [make_call, sample](
                              const py::array& mean,
                              std::conditional_t<true, const py::array&, Names>... parameters,
                              const py::object& seed, const py::object& first_cell,
                              const py::object& n_threads, const InstructionSet& instruction_set,
                              const Logits& logits) {
            Call made = make_call(mean, parameters...);
            made.logits = logits;
            return sample(made, parse_run(seed, first_cell, n_threads, instruction_set));
        };
        if constexpr (means == Means::given) {
            module.def(
                full_name.c_str(),
                [call](const py::array& mean,
                       std::conditional_t<true, const py::array&, Names>... parameters,
                       const py::object& seed, const py::object& first_cell,
                       const py::object& n_threads, const InstructionSet& instruction_set) {
                    return call(mean, parameters..., seed, first_cell, n_threads, instruction_set,
                                {});
                },
                "mean"_a, py::arg(names)..., py::kw_only(), "seed"_a, "first_cell"_a = 0,
                "n_threads"_a = 1, "instruction_set"_a = py::none(), text.c_str());
        } else {
            module.def(
                full_name.c_str(),
                [call](const py::array& mean,
                       std::conditional_t<true, const py::array&, Names>... parameters,
                       const py::object& seed, const py::object& first_cell,
                       const std::optional<py::array>& library,
                       const std::optional<py::array>& bias, const py::object& n_threads,
                       const InstructionSet& instruction_set) {
                    return call(mean, parameters..., seed, first_cell, n_threads, instruction_set,
                                {library, bias});
                },
                "mean"_a, py::arg(names)..., py::kw_only(), "seed"_a, "first_cell"_a = 0,
                "library"_a = py::none(), "bias"_a = py::none(), "n_threads"_a = 1,
                "instruction_set"_a = py::none(),
                (text +
                 "\n\nWith `library`, one for each cell, `mean` holds logits, and the means are\n"
                 "library * softmax(logits + bias).")
                    .c_str());
        }
    };
    define_one("sample_" + name, law + "\n\nReturns float32 values of the shape of `mean`.", dense);
    define_one("sample_" + name + "_csr",
               law + "\n\nReturns the draws of sample_" + name +
                   " without their zeros, as (data, indices, indptr) of a CSR\n"
                   "matrix: float32, int32 rising within each row, int64.",
               csr);
}

}  // namespace

void bind_observation(py::module_& module) {
    define(module, "bernoulli", "1 with probability `mean`, else 0.",
           [](const py::array& mean) { return Call{Likelihood::bernoulli, &mean}; });
    define(
        module, "gaussian", "Normal with mean `mean` and standard deviation `scale`.",
        [](const py::array& mean, const py::array& scale) {
            return Call{Likelihood::gaussian, &mean, &scale};
        },
        "scale");
    define<Means::or_logits>(
        module, "poisson", "Poisson with mean `mean`.",
        [](const py::array& mean) { return Call{Likelihood::poisson, &mean}; });
    define<Means::or_logits>(
        module, "nb", "Negative binomial with mean m and variance m + m^2 / inverse_dispersion.",
        [](const py::array& mean, const py::array& inverse_dispersion) {
            return Call{Likelihood::nb, &mean, nullptr, &inverse_dispersion};
        },
        "inverse_dispersion");
    define<Means::or_logits>(
        module, "zinb", "0 with probability sigmoid(zero_logits), else negative binomial.",
        [](const py::array& mean, const py::array& inverse_dispersion,
           const py::array& zero_logits) {
            return Call{Likelihood::zinb, &mean, nullptr, &inverse_dispersion, &zero_logits};
        },
        "inverse_dispersion", "zero_logits");
    define(
        module, "zigamma",
        "0 with probability sigmoid(zero_logits), else gamma with mean m and variance\n"
        "m^2 / inverse_dispersion.",
        [](const py::array& mean, const py::array& inverse_dispersion,
           const py::array& zero_logits) {
            return Call{Likelihood::zigamma, &mean, nullptr, &inverse_dispersion, &zero_logits};
        },
        "inverse_dispersion", "zero_logits");
    module.def("softmax_means", &softmax_means_into, "out"_a, "logits"_a, "library"_a,
               "bias"_a = py::none(), py::kw_only(), "n_threads"_a = 1,
               "instruction_set"_a = py::none(),
               "Fill `out` with library * softmax(logits + bias), row by row.");
}

}  // namespace vaexprs::bindings
