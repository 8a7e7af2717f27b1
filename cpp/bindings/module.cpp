#include "module.hpp"

#include <pybind11/stl.h>

#include "vaexprs/kernels.hpp"

// The stub _core.pyi has the documentation.
PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
    module.doc() =
        "Random numbers, latent variables and observations, every draw addressed by seed, cell, "
        "gene and purpose.";

    using namespace vaexprs;
    using namespace vaexprs::bindings;
    module.def("instruction_set", [] { return kernels_named("").name; });
    module.def("instruction_sets", [] {
        std::vector<std::string> names;
        for (const Kernels* kernels : available_kernels())
            names.emplace_back(kernels->name);
        return names;
    });
    bind_latent(module);
    bind_inputs(module);
    bind_observation(module);
    bind_decoder(module);
}
