#include "vaexprs/kernels.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "kernel_tables.hpp"

namespace vaexprs {

namespace {

std::vector<const Kernels*> find_kernels() {
    std::vector<const Kernels*> found{&kReferenceKernels};
    return found;
}

const Kernels& find(std::string_view name) {
    std::string known;
    for (const Kernels* kernels : available_kernels()) {
        if (name == kernels->name) return *kernels;
        known += (known.empty() ? "'" : ", '") + std::string(kernels->name) + "'";
    }
    throw std::invalid_argument("instruction_set: expected one of " + known + ", got '" +
                                std::string(name) + "'.");
}

const Kernels& default_kernels() {
    const char* name = std::getenv("VAEXPRS_INSTRUCTION_SET");
    return name != nullptr && *name != '\0' ? find(name) : *available_kernels().back();
}

}  // namespace

const std::vector<const Kernels*>& available_kernels() {
    static const std::vector<const Kernels*> kernels = find_kernels();
    return kernels;
}

const Kernels& kernels_named(std::string_view name) {
    if (!name.empty()) return find(name);
    static const Kernels& chosen = default_kernels();
    return chosen;
}

}  // namespace vaexprs
