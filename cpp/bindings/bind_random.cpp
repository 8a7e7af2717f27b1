#include <cmath>

#include <pybind11/stl.h>

#include "vaexprs/random.hpp"
#include "vaexprs/threefry.hpp"

#include "arguments.hpp"
#include "module.hpp"

namespace vaexprs::bindings {

using namespace pybind11::literals;

namespace {

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

Purpose parse_purpose(const std::string& name) {
    constexpr std::pair<const char*, Purpose> kPurposes[] = {
        {"latent", Purpose::latent},         {"component", Purpose::component},
        {"library", Purpose::library},       {"observation", Purpose::observation},
        {"refinement", Purpose::refinement}, {"condition", Purpose::condition},
    };
    std::string known;
    for (const auto& [text, purpose] : kPurposes) {
        if (name == text) return purpose;
        known += (known.empty() ? "'" : ", '") + std::string(text) + "'";
    }
    throw py::value_error("purpose: expected one of " + known + ", got '" + name + "'.");
}

void uniform(py::array& out, const py::object& seed, const py::object& first_cell,
             const std::string& purpose, const py::object& n_threads,
             const std::optional<std::string>& instruction_set) {
    const Run run = parse_run(seed, first_cell, n_threads, instruction_set);
    const Purpose stream = parse_purpose(purpose);
    const std::uint32_t n = row_length(out, "out");
    if (out.dtype().equal(py::dtype::of<double>())) {
        double* data = output<double>(out, "out", {kAny, kAny});
        const auto n_cells = static_cast<std::size_t>(out.shape(0));
        const py::gil_scoped_release release;
        fill_uniform(data, n_cells, n, stream, run);
    } else {
        float* data = output<float>(out, "out", {kAny, kAny});
        const auto n_cells = static_cast<std::size_t>(out.shape(0));
        const py::gil_scoped_release release;
        fill_uniform(data, n_cells, n, stream, run);
    }
}

py::array_t<double> gamma(const py::array& shape, const py::object& seed,
                          const py::object& first_cell, const py::object& n_threads) {
    const Run run = parse_run(seed, first_cell, n_threads, std::nullopt);
    const auto* data = input<double>(shape, "shape", {kAny, kAny});
    const std::uint32_t n = row_length(shape, "shape");
    py::array_t<double> out({shape.shape(0), shape.shape(1)});
    for (py::ssize_t i = 0; i < shape.size(); ++i) {
        if (!(data[i] > 0.0 && std::isfinite(data[i]))) {
            throw py::value_error("shape: expected finite values > 0, got " +
                                  std::to_string(data[i]) + " at position " + std::to_string(i) +
                                  ".");
        }
    }
    double* made = out.mutable_data();
    const py::gil_scoped_release release;
    fill_gamma(data, made, static_cast<std::size_t>(out.shape(0)), n, run);
    return out;
}

}  // namespace

void bind_random(py::module_& module) {
    module.def("threefry4x32", threefry, "counter"_a, "key"_a,
               "Threefry4x32 with 20 rounds of each counter, (n, 4), and key, (n, 4) or (4,).");
    module.def("fill_uniform", uniform, "out"_a, py::kw_only(), "seed"_a, "first_cell"_a = 0,
               "purpose"_a = "latent", "n_threads"_a = 1, "instruction_set"_a = py::none(),
               "Fill `out`, (n_cells, n), with uniforms of the open interval (0, 1): the odd\n"
               "multiples of 2^-24 in float32, of 2^-53 in float64.");
    module.def("sample_gamma", gamma, "shape"_a, py::kw_only(), "seed"_a, "first_cell"_a = 0,
               "n_threads"_a = 1, "Gamma variates of scale 1 and the given shapes, (n_cells, n).");
}

}  // namespace vaexprs::bindings
