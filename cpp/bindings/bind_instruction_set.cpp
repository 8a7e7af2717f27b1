#include <pybind11/stl.h>

#include "vaexprs/kernels.hpp"

#include "module.hpp"

namespace vaexprs::bindings {

void bind_instruction_set(pybind11::module_& module) {
    module.def(
        "instruction_set", [] { return kernels_named("").name; },
        "Name of the kernels in use: the highest instruction set that this machine has, or the\n"
        "one that the environment variable VAEXPRS_INSTRUCTION_SET named at first use.");
    module.def(
        "instruction_sets",
        [] {
            std::vector<std::string> names;
            for (const Kernels* kernels : available_kernels())
                names.emplace_back(kernels->name);
            return names;
        },
        "Names of the kernels that this machine can run, from 'reference', the plain scalar twin\n"
        "of every kernel, up to the fastest. All of them make the same draws.");
}

}  // namespace vaexprs::bindings
