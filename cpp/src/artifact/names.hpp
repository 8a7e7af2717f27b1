// Which names a file of generated cells can hold. The twin of vaexprs/spec/conditions.py.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "spec.hpp"

namespace vaexprs::artifact {

/// A name as messages show it.
std::string quoted(std::string_view text);

/// Why a file of cells cannot hold a column of a name, as the end of a sentence; empty if it can.
std::string column_problem(std::string_view name);

/// Why a file of generated cells cannot hold keys, naming the first bad one; empty if it can.
std::string key_problem(const std::vector<Key>& keys);

}  // namespace vaexprs::artifact
