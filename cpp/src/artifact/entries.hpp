// Values of metadata entries, taken from JSON with their types checked; each refusal names the
// entry.

#pragma once

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "json.hpp"

namespace vaexprs::artifact {

[[noreturn]] void refuse(const std::string& part, const std::string& problem);
void require(bool holds, const std::string& part, const std::string& problem);
void check_size(const std::string& part, std::size_t size, std::size_t limit);

using Entries = std::map<std::string, std::string_view>;

/// Parses an entry, whose size is limited before.
Json read_entry(const Entries& metadata, const std::string& key);

/// Names, which any file format can store: text without a NUL.
std::vector<std::string> strings(const List& values, const std::string& part);

/// Standard base64 with padding (RFC 4648, section 4) as bytes; false if it is none.
bool decode_base64(std::string_view text, std::vector<unsigned char>& to);

template <class T>
const T& typed(const Json& value, const std::string& part) {
    if (!value.is<T>())
        refuse(part, std::string("must be ") + Json{T{}}.kind() + ", not " + value.kind());
    return value.as<T>();
}

/// A member that must be there.
const Json& member(const Json& object, const std::string& key, const std::string& part);

template <class T>
const T& member(const Json& object, const std::string& key, const std::string& part) {
    return typed<T>(member(object, key, part), part + "." + key);
}

template <class T>
void append_integers(const List& values, const std::string& part, std::vector<T>& to) {
    for (const Json& value : values) {
        using Limits = std::numeric_limits<T>;
        if (!value.is<std::int64_t>() || value.as<std::int64_t>() < Limits::min() ||
            value.as<std::int64_t>() > Limits::max()) {
            refuse(part, "must hold whole numbers of type int" + std::to_string(8 * sizeof(T)));
        }
        to.push_back(static_cast<T>(value.as<std::int64_t>()));
    }
}

using Shape = std::vector<std::int64_t>;

template <class T>
struct Array {
    std::vector<T> values;
    Shape shape;
};

template <class T>
constexpr const char* kDtype = std::is_same_v<T, float>          ? "float32"
                               : std::is_same_v<T, double>       ? "float64"
                               : std::is_same_v<T, std::int32_t> ? "int32"
                                                                 : "int64";

template <class T>
Array<T> array(const Json& object, const std::string& name, const std::string& of) {
    const std::string part = of + "." + name;
    typed<Object>(member(object, name, of), part);
    const Json& value = member(object, name, of);
    const auto& dtype = member<std::string>(value, "dtype", part);
    if (dtype != kDtype<T>) {
        refuse(part, "has dtype '" + dtype.substr(0, 20) + "', expected '" + kDtype<T> + "'");
    }
    Array<T> made;
    const List& lengths = member<List>(value, "shape", part);
    bool good = lengths.size() <= 3;
    std::uint64_t n_bytes = sizeof(T);
    for (const Json& length : lengths) {
        good = good && length.is<std::int64_t>() && length.as<std::int64_t>() >= 0 &&
               length.as<std::int64_t>() < std::int64_t{1} << 31;
        if (!good) refuse(part, "has a shape that is no list of at most 3 lengths");
        made.shape.push_back(length.as<std::int64_t>());
        const auto n = static_cast<std::uint64_t>(made.shape.back());
        if (__builtin_mul_overflow(n_bytes, n, &n_bytes)) n_bytes = ~std::uint64_t{0};
    }
    if (!good) refuse(part, "has a shape that is no list of at most 3 lengths");
    std::vector<unsigned char> raw;
    if (!decode_base64(member<std::string>(value, "base64", part), raw))
        refuse(part, "is not base64");
    // A length of 0 makes an array empty, whatever the others.
    if (std::find(made.shape.begin(), made.shape.end(), 0) != made.shape.end()) n_bytes = 0;
    if (raw.size() != n_bytes) {
        refuse(part, "holds " + std::to_string(raw.size()) + " bytes, which is no " + kDtype<T> +
                         std::string(" array of that shape"));
    }
    made.values.resize(raw.size() / sizeof(T));
    if (!raw.empty()) std::memcpy(made.values.data(), raw.data(), raw.size());
    return made;
}

}  // namespace vaexprs::artifact
