#include <pybind11/stl.h>

#include "vaexprs/decoder.hpp"
#include "vaexprs/generator.hpp"
#include "vaexprs/kernels.hpp"

#include "arguments.hpp"
#include "module.hpp"

namespace vaexprs::bindings {

using namespace pybind11::literals;

namespace {

/// A decoder with what its arrays must look like.
struct BoundDecoder {
    Interface interface;
    Decoder decoder;
};

std::unique_ptr<BoundDecoder> open_decoder(const py::bytes& model, Interface&& interface,
                                           const std::optional<std::string>& instruction_set) {
    const Kernels& kernels = kernels_named(instruction_set.value_or(""));
    const std::string_view bytes = model;
    const py::gil_scoped_release release;
    Decoder decoder(bytes, interface, kernels);
    return std::unique_ptr<BoundDecoder>(
        new BoundDecoder{std::move(interface), std::move(decoder)});
}

std::vector<py::array_t<float>> decode(const BoundDecoder& self,
                                       const std::vector<py::array>& inputs) {
    const Interface& interface = self.interface;
    if (inputs.size() != interface.inputs.size()) {
        throw py::value_error("inputs: expected " + std::to_string(interface.inputs.size()) +
                              " arrays, got " + std::to_string(inputs.size()) + ".");
    }
    std::vector<const float*> from;
    const py::ssize_t n_cells = inputs[0].ndim() == 2 ? inputs[0].shape(0) : 0;
    for (std::size_t k = 0; k < inputs.size(); ++k) {
        const auto& [name, width] = interface.inputs[k];
        from.push_back(input<float>(inputs[k], name.c_str(), {n_cells, width}));
    }
    std::vector<Buffer<float>> made;
    std::vector<float*> to;
    for (std::size_t k = 0; k < interface.outputs.size(); ++k) {
        const auto n_rows = self.decoder.has_one_row(k) ? 1 : static_cast<std::size_t>(n_cells);
        const std::size_t size = n_rows * static_cast<std::size_t>(interface.n_genes);
        made.emplace_back(size).commit(size);
        to.push_back(made.back().data());
    }
    {
        const py::gil_scoped_release release;
        self.decoder.decode(from.data(), static_cast<std::size_t>(n_cells), to.data());
    }
    std::vector<py::array_t<float>> arrays;
    for (Buffer<float>& buffer : made)
        arrays.push_back(
            to_numpy(std::move(buffer))
                .reshape({py::ssize_t{-1}, static_cast<py::ssize_t>(interface.n_genes)}));
    return arrays;
}

}  // namespace

void bind_decoder(py::module_& module) {
    py::class_<BoundDecoder>(module, "Decoder")
        .def(
            py::init(
                [](const py::bytes& model, std::vector<std::pair<std::string, std::int64_t>> inputs,
                   std::vector<std::string> outputs, std::int64_t n_genes,
                   std::int64_t n_combinations, const std::optional<std::string>& instruction_set) {
                    return open_decoder(
                        model, {std::move(inputs), std::move(outputs), n_genes, n_combinations},
                        instruction_set);
                }),
            "model"_a, py::kw_only(), "inputs"_a, "outputs"_a, "n_genes"_a, "n_combinations"_a,
            "instruction_set"_a = py::none())
        .def_property_readonly("gives_logits",
                               [](const BoundDecoder& self) { return self.decoder.gives_logits(); })
        .def_property_readonly("n_values",
                               [](const BoundDecoder& self) { return self.decoder.n_values(); })
        .def_property_readonly("bias",
                               [](const BoundDecoder& self) -> std::optional<py::array_t<float>> {
                                   const std::vector<float>& bias = self.decoder.bias();
                                   if (bias.empty()) return {};
                                   return py::array_t<float>(static_cast<py::ssize_t>(bias.size()),
                                                             bias.data());
                               })
        .def("decode", decode, "inputs"_a);
    module.def(
        "check_artifact",
        [](const py::bytes& model) {
            const std::string_view bytes = model;
            const py::gil_scoped_release release;
            const Artifact artifact(bytes);
        },
        "model"_a);
}

}  // namespace vaexprs::bindings
