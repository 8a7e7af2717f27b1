#include "module.hpp"

PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
    module.doc() =
        "Random numbers, latent variables and observations, every draw addressed by seed, cell, "
        "gene and purpose.";

    using namespace vaexprs::bindings;
    bind_instruction_set(module);
    bind_random(module);
    bind_latent(module);
    bind_inputs(module);
    bind_observation(module);
    bind_normalisation(module);
}
