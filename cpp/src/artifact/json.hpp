// JSON (RFC 8259), strictly: the entries of an artifact's metadata, which come from anywhere.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace vaexprs::artifact {

struct Json;
using List = std::vector<Json>;
using Object = std::vector<std::pair<std::string, Json>>;

/// A value. Whole numbers without point or exponent are integers; those beyond 64 bits become the
/// nearest that fits.
struct Json {
    std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, List, Object> value;

    template <class T>
    bool is() const {
        return std::holds_alternative<T>(value);
    }
    template <class T>
    const T& as() const {
        return std::get<T>(value);
    }
    /// The kind of value, as messages name it.
    const char* kind() const;
    /// A member of an object, or null.
    const Json* find(std::string_view name) const;
};

/// Levels of nested lists and objects.
inline constexpr int kMaxDepth = 32;

/// Parses a JSON text. Throws std::invalid_argument for malformed text, numbers that are not
/// finite, repeated keys of an object, lone surrogates and values nested too deeply; the message is
/// the end of a sentence.
Json parse_json(std::string_view text);

}  // namespace vaexprs::artifact
