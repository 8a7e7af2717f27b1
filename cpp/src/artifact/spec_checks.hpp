// Refuses metadata that do not fit together. The twin of vaexprs/spec/generator.py.

#pragma once

#include <map>

#include "entries.hpp"
#include "spec.hpp"

namespace vaexprs::artifact {

/// The shapes of a spec's arrays by name, "residual" among them.
using Shapes = std::map<std::string, Shape>;

void check_spec(const Spec& spec, const Shapes& shapes);

}  // namespace vaexprs::artifact
