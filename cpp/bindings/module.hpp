#pragma once

#include <pybind11/pybind11.h>

namespace vaexprs::bindings {

void bind_decoder(pybind11::module_& module);
void bind_latent(pybind11::module_& module);
void bind_inputs(pybind11::module_& module);
void bind_observation(pybind11::module_& module);

}  // namespace vaexprs::bindings
