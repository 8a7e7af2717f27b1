#include <pybind11/stl.h>

#include "vaexprs/latent.hpp"
#include "vaexprs/threefry.hpp"

#include "arguments.hpp"
#include "module.hpp"

namespace vaexprs::bindings {

using namespace pybind11::literals;

namespace {

using InstructionSet = std::optional<std::string>;

py::array_t<std::uint32_t> threefry(const py::array& counter, const py::array& key) {
    const auto* c = input<std::uint32_t>(counter, "counter", {kAny, 4});
    const py::ssize_t n = counter.shape(0);
    const bool shared = key.ndim() == 1;
    const auto* k =
        shared ? input<std::uint32_t>(key, "key", {4}) : input<std::uint32_t>(key, "key", {n, 4});
    py::array_t<std::uint32_t> out({n, py::ssize_t{4}});
    std::uint32_t* o = out.mutable_data();
    const py::gil_scoped_release release;
    for (py::ssize_t i = 0; i < n; ++i, c += 4, o += 4, k += shared ? 0 : 4) {
        const auto words = threefry4x32(c[0], c[1], c[2], c[3], {k[0], k[1], k[2], k[3]});
        o[0] = words.w0, o[1] = words.w1, o[2] = words.w2, o[3] = words.w3;
    }
    return out;
}

void latent(py::array& out, const py::object& seed, const py::object& first_cell,
            const py::object& n_threads, const InstructionSet& instruction_set) {
    const Run run = parse_run(seed, first_cell, n_threads, instruction_set);
    float* data = output<float>(out, "out", {kAny, kAny});
    const auto n_cells = static_cast<std::size_t>(out.shape(0));
    const std::uint32_t n_latent = row_length(out, "out");
    const py::gil_scoped_release release;
    fill_latent(data, n_cells, n_latent, run);
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

}  // namespace

void bind_latent(py::module_& module) {
    module.def("threefry4x32", threefry, "counter"_a, "key"_a);
    module.def("fill_latent", latent, "out"_a, py::kw_only(), "seed"_a, "first_cell"_a = 0,
               "n_threads"_a = 1, "instruction_set"_a = py::none());
    module.def("reparameterize", reparameterized, "mean"_a, "log_variance"_a, py::kw_only(),
               "seed"_a, "first_cell"_a = 0, "n_threads"_a = 1, "instruction_set"_a = py::none());
}

}  // namespace vaexprs::bindings
