#include "vaexprs/condition.hpp"

#include "arguments.hpp"
#include "module.hpp"

namespace vaexprs::bindings {

using namespace pybind11::literals;

namespace {

void one_hot(py::array& out, const py::array& codes, const py::array& sizes) {
    const auto* s = input<std::int32_t>(sizes, "sizes", {kAny});
    const py::ssize_t n_keys = sizes.shape(0);
    const auto* c = input<std::int32_t>(codes, "codes", {kAny, n_keys});
    const auto n_cells = static_cast<std::size_t>(codes.shape(0));
    check_range(s, static_cast<std::size_t>(n_keys), "sizes", 1, std::int64_t{1} << 31);
    py::ssize_t width = 0;
    for (py::ssize_t key = 0; key < n_keys; ++key)
        width += s[key];
    for (std::size_t i = 0; i < n_cells; ++i) {
        for (py::ssize_t key = 0; key < n_keys; ++key) {
            const std::int32_t code = c[static_cast<py::ssize_t>(i) * n_keys + key];
            if (code < 0 || code >= s[key]) {
                throw py::value_error("codes: expected values from 0 to " +
                                      std::to_string(s[key] - 1) + " for key " +
                                      std::to_string(key) + ", got " + std::to_string(code) +
                                      " at row " + std::to_string(i) + ".");
            }
        }
    }
    float* data = output<float>(out, "out", {codes.shape(0), width});
    const py::gil_scoped_release release;
    fill_one_hot(data, n_cells, c, {s, static_cast<std::size_t>(n_keys)});
}

}  // namespace

void bind_condition(py::module_& module) {
    module.def("fill_one_hot", one_hot, "out"_a, "codes"_a, "sizes"_a,
               "Fill `out`, (n_cells, sum of sizes) float32, with the one-hot blocks of `codes`,\n"
               "(n_cells, n_keys) int32, side by side.");
}

}  // namespace vaexprs::bindings
