#include "entries.hpp"

namespace vaexprs::artifact {

namespace {

// Limits: see vaexprs/spec/metadata.py.
struct Limit {
    std::size_t characters, marks;
};

Limit limit_of(std::string_view key) {
    if (key == "var_names" || key == "var") return {1u << 25, 3'000'000};
    if (key == "conditions") return {1u << 24, 1'000'000};
    if (key == "prior") return {3u << 24, 1000};
    if (key == "library") return {1u << 22, 1000};
    if (key == "residual") return {1u << 23, 100};
    for (const char* free : {"provenance", "architecture", "precision", "quality"})
        if (key == free) return {1u << 20, 100'000};
    return {1u << 12, 10};
}

}  // namespace

void refuse(const std::string& part, const std::string& problem) {
    throw std::invalid_argument("metadata 'vaexprs." + part + "' " + problem + ".");
}

void require(bool holds, const std::string& part, const std::string& problem) {
    if (!holds) throw std::invalid_argument("metadata 'vaexprs." + part + "': " + problem + ".");
}

void check_size(const std::string& part, std::size_t size, std::size_t limit) {
    if (size > limit) {
        refuse(part,
               "has the size " + std::to_string(size) + ", more than " + std::to_string(limit));
    }
}

std::vector<std::string> strings(const List& values, const std::string& part) {
    std::vector<std::string> made;
    for (const Json& value : values) {
        if (!value.is<std::string>()) refuse(part, "must hold strings only");
        if (value.as<std::string>().find('\0') != std::string::npos)
            refuse(part, "holds a NUL character");
        made.push_back(value.as<std::string>());
    }
    return made;
}

const Json& member(const Json& object, const std::string& key, const std::string& part) {
    const Json* found = object.find(key);
    if (found == nullptr) refuse(part + "." + key, "is missing");
    return *found;
}

bool decode_base64(std::string_view text, std::vector<unsigned char>& to) {
    constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    signed char values[256];
    std::memset(values, -1, sizeof values);
    for (std::size_t i = 0; i < kDigits.size(); ++i)
        values[static_cast<unsigned char>(kDigits[i])] = static_cast<signed char>(i);
    if (text.size() % 4 != 0) return false;
    const std::size_t n_padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
    to.reserve(text.size() / 4 * 3);
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool is_padding = i + n_padding >= text.size();
        const int digit = is_padding ? 0 : values[static_cast<unsigned char>(text[i])];
        if (digit < 0) return false;
        bits = bits << 6 | static_cast<std::uint32_t>(digit);
        if (i % 4 != 3) continue;
        for (int shift = 16; shift >= 0; shift -= 8)
            to.push_back(static_cast<unsigned char>(bits >> shift));
    }
    to.resize(to.size() - n_padding);
    return true;
}

Json read_entry(const Entries& metadata, const std::string& key) {
    if (!metadata.contains("vaexprs." + key)) {
        refuse(key, "is missing: the file was not exported by vaexprs, or is damaged");
    }
    const std::string_view text = metadata.at("vaexprs." + key);
    const Limit limit = limit_of(key);
    std::size_t n_characters = 0, n_marks = 0;
    for (const char c : text) {
        n_characters += (c & 0xC0) != 0x80;
        n_marks += c == ',' || c == '[' || c == '{';
    }
    if (n_characters > limit.characters) {
        refuse(key, "has " + std::to_string(n_characters) + " characters, more than " +
                        std::to_string(limit.characters));
    }
    if (n_marks > limit.marks) {
        refuse(key, "has " + std::to_string(n_marks) + " commas and brackets, more than " +
                        std::to_string(limit.marks));
    }
    try {
        return parse_json(text);
    } catch (const std::invalid_argument& error) {
        refuse(key, error.what());
    }
}

}  // namespace vaexprs::artifact
