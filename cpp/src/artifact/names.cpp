#include "names.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <map>

namespace vaexprs::artifact {

namespace {

/// Bytes of the longest name: a folder's name with a suffix.
constexpr std::size_t kLongestName = 238;

/// The bytes of the blank of Unicode that a text begins with (or ends with), 0 if it does not.
std::size_t blank_at(std::string_view text, bool at_end) {
    static constexpr std::string_view kBlanks[] = {
        "\t",           "\n",           "\v",           "\f",           "\r",
        "\x1c",         "\x1d",         "\x1e",         "\x1f",         " ",
        "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x81",
        "\xE2\x80\x82", "\xE2\x80\x83", "\xE2\x80\x84", "\xE2\x80\x85", "\xE2\x80\x86",
        "\xE2\x80\x87", "\xE2\x80\x88", "\xE2\x80\x89", "\xE2\x80\x8A", "\xE2\x80\xA8",
        "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"};
    for (const std::string_view blank : kBlanks)
        if (at_end ? text.ends_with(blank) : text.starts_with(blank)) return blank.size();
    return 0;
}

std::string_view stripped(std::string_view text) {
    while (const std::size_t n = blank_at(text, false))
        text.remove_prefix(n);
    while (const std::size_t n = blank_at(text, true))
        text.remove_suffix(n);
    return text;
}

/// The text under which Python stores a float: shortest digits, whole numbers without a point.
std::string float_text(double value) {
    char buffer[400];
    if (value == std::floor(value)) {
        std::snprintf(buffer, sizeof buffer, "%.0f", value == 0.0 ? 0.0 : value);
        return buffer;
    }
    const double size = std::abs(value);
    const auto format =
        size >= 1e-4 && size < 1e16 ? std::chars_format::fixed : std::chars_format::scientific;
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, format);
    return {buffer, end.ptr};
}

bool is_of_type(const std::string& category, const std::string& dtype) {
    const char *first = category.data(), *last = first + category.size();
    if (dtype == "bool") return category == "True" || category == "False";
    if (dtype == "int") {
        std::int64_t value = 0;
        const auto end = std::from_chars(first, last, value);
        return end.ec == std::errc{} && end.ptr == last && std::to_string(value) == category;
    }
    double value = 0.0;
    const auto end = std::from_chars(first, last, value);
    return end.ec == std::errc{} && end.ptr == last && std::isfinite(value) &&
           float_text(value) == category;
}

std::string category_problem(const Key& key) {
    std::map<std::string_view, std::string_view> seen;
    for (const std::string& category : key.categories) {
        const auto [other, is_new] = seen.emplace(stripped(category), category);
        if (!is_new && other->second != category) {
            return "the categories " + quoted(other->second) + " and " + quoted(category) + " of " +
                   quoted(key.name) + " differ by blanks at their ends alone: rename one of them";
        }
    }
    if (key.dtype == "str") return "";
    if (key.dtype != "int" && key.dtype != "bool" && key.dtype != "float") {
        return "the type " + quoted(key.dtype) + " of the categories of " + quoted(key.name) +
               " is none of 'str', 'int', 'bool', 'float'";
    }
    const auto fits = [&](const std::string& category) { return is_of_type(category, key.dtype); };
    if (std::all_of(key.categories.begin(), key.categories.end(), fits)) return "";
    return "the categories of " + quoted(key.name) + " are not all of type " + quoted(key.dtype);
}

}  // namespace

std::string quoted(std::string_view text) {
    std::string made("'");
    return made.append(text.substr(0, 80)).append("'");
}

std::string column_problem(std::string_view name) {
    static constexpr std::string_view kReserved[] = {
        "",          ".",       "..",      "_index",  "__categories",
        "zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"};
    const bool reserved =
        std::find(std::begin(kReserved), std::end(kReserved), name) != std::end(kReserved);
    if (reserved || stripped(name).empty()) return "is no name that a file of cells can hold";
    if (name.find_first_of("/\\") != std::string_view::npos)
        return "holds a slash, which separates the parts of a path in a file of cells";
    if (name.size() > kLongestName)
        return "is longer than " + std::to_string(kLongestName) + " bytes";
    return "";
}

std::string key_problem(const std::vector<Key>& keys) {
    const auto has = [&](const std::string& name) {
        return std::any_of(keys.begin(), keys.end(), [&](const Key& k) { return k.name == name; });
    };
    for (const Key& key : keys) {
        const std::string problem =
            key.name == "n_cells" ? "is the column of a design table that holds numbers of cells"
                                  : column_problem(key.name);
        if (!problem.empty()) {
            return "the condition key " + quoted(key.name) + " " + problem +
                   ": rename the column of obs";
        }
    }
    for (const std::string own : {"source", "library", "unseen_combination"}) {
        if (has(own) && has("vaexprs_" + own)) {
            return "the condition keys '" + own + "' and 'vaexprs_" + own +
                   "' leave no name for a column that generated cells have: rename one of them";
        }
    }
    for (const Key& key : keys) {
        const std::string problem = category_problem(key);
        if (!problem.empty()) return problem;
    }
    return "";
}

}  // namespace vaexprs::artifact
