#include "json.hpp"

#include <charconv>
#include <cmath>
#include <limits>
#include <set>
#include <stdexcept>

namespace vaexprs::artifact {

namespace {

class Parser {
  public:
    explicit Parser(std::string_view text) : left_(text) {}

    Json whole() {
        Json made = value(0);
        skip_blanks();
        if (!left_.empty()) fail("there is more behind it");
        return made;
    }

  private:
    [[noreturn]] static void fail(const std::string& problem) {
        throw std::invalid_argument("is not JSON: " + problem);
    }

    void skip_blanks() {
        const std::size_t n = left_.find_first_not_of(" \t\n\r");
        left_.remove_prefix(n == std::string_view::npos ? left_.size() : n);
    }

    char peek() const { return left_.empty() ? '\0' : left_.front(); }

    bool take(std::string_view expected) {
        if (!left_.starts_with(expected)) return false;
        left_.remove_prefix(expected.size());
        return true;
    }

    Json value(int depth) {
        skip_blanks();
        if (peek() == '{' || peek() == '[') {
            if (depth == kMaxDepth) throw std::invalid_argument("is nested too deeply");
            return peek() == '{' ? object(depth + 1) : list(depth + 1);
        }
        if (peek() == '"') return {string()};
        if (take("null")) return {nullptr};
        if (take("true")) return {true};
        if (take("false")) return {false};
        return number();
    }

    Json list(int depth) {
        List items;
        take("[");
        skip_blanks();
        if (take("]")) return {std::move(items)};
        do {
            items.push_back(value(depth));
            skip_blanks();
        } while (take(","));
        if (!take("]")) fail("a list does not end");
        return {std::move(items)};
    }

    Json object(int depth) {
        Object members;
        std::set<std::string> seen;
        take("{");
        skip_blanks();
        if (take("}")) return {std::move(members)};
        do {
            skip_blanks();
            if (peek() != '"') fail("a member has no name");
            std::string name = string();
            skip_blanks();
            if (!take(":")) fail("a member has no value");
            if (!seen.insert(name).second) fail("an object has the same key twice");
            members.emplace_back(std::move(name), value(depth));
            skip_blanks();
        } while (take(","));
        if (!take("}")) fail("an object does not end");
        return {std::move(members)};
    }

    static bool is_digit(char c) { return c >= '0' && c <= '9'; }

    std::size_t digits(std::size_t at) const {
        std::size_t n = 0;
        while (at + n < left_.size() && is_digit(left_[at + n]))
            ++n;
        return n;
    }

    Json number() {
        std::size_t at = peek() == '-' ? 1 : 0;
        const bool zero = at < left_.size() && left_[at] == '0';
        const std::size_t n_whole = zero ? 1 : digits(at);
        if (n_whole == 0) fail("a value is none");
        at += n_whole;
        bool is_whole = true;
        if (at < left_.size() && left_[at] == '.' && digits(at + 1) > 0) {
            at += 1 + digits(at + 1);
            is_whole = false;
        }
        if (at < left_.size() && (left_[at] == 'e' || left_[at] == 'E')) {
            const bool sign =
                at + 1 < left_.size() && (left_[at + 1] == '+' || left_[at + 1] == '-');
            const std::size_t n = digits(at + 1 + sign);
            if (n > 0) {
                at += 1 + sign + n;
                is_whole = false;
            }
        }
        const std::string_view text = left_.substr(0, at);
        left_.remove_prefix(at);
        if (is_whole) {
            std::int64_t integer = 0;
            const auto end = std::from_chars(text.data(), text.data() + text.size(), integer);
            using Limits = std::numeric_limits<std::int64_t>;
            if (end.ec != std::errc{}) integer = text[0] == '-' ? Limits::min() : Limits::max();
            return {integer};
        }
        double real = 0.0;
        const auto end = std::from_chars(text.data(), text.data() + text.size(), real);
        // Out of range: too large, or so small that it is 0.
        if (end.ec != std::errc{} && !is_tiny(text)) fail("a number is too large");
        return {end.ec != std::errc{} ? 0.0 : real};
    }

    static bool is_tiny(std::string_view text) {
        const std::size_t e = text.find_first_of("eE");
        return (e != std::string_view::npos && text[e + 1] == '-') || text.starts_with("0.") ||
               text.starts_with("-0.");
    }

    unsigned code_unit() {
        unsigned unit = 0;
        const auto end = std::from_chars(
            left_.data(), left_.data() + std::min<std::size_t>(4, left_.size()), unit, 16);
        if (end.ptr != left_.data() + 4 || left_.size() < 4) fail("an escape is none");
        left_.remove_prefix(4);
        return unit;
    }

    void append(std::string& to, unsigned code) {
        const auto put = [&](unsigned byte) { to.push_back(static_cast<char>(byte)); };
        if (code < 0x80) return put(code);
        if (code < 0x800) {
            put(0xC0 | code >> 6);
        } else {
            if (code < 0x10000) {
                put(0xE0 | code >> 12);
            } else {
                put(0xF0 | code >> 18);
                put(0x80 | (code >> 12 & 0x3F));
            }
            put(0x80 | (code >> 6 & 0x3F));
        }
        put(0x80 | (code & 0x3F));
    }

    void escape(std::string& to) {
        constexpr std::string_view kNames = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
        const char name = peek();
        if (name == '\0') fail("a string does not end");
        left_.remove_prefix(1);
        if (const std::size_t place = kNames.find(name); place != std::string_view::npos) {
            to.push_back(kMeanings[place]);
            return;
        }
        if (name != 'u') fail("an escape is none");
        unsigned code = code_unit();
        if (code >= 0xD800 && code < 0xDC00 && take("\\u")) {
            const unsigned low = code_unit();
            if (low < 0xDC00 || low > 0xDFFF)
                throw std::invalid_argument("holds half a surrogate pair, which is no text");
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        }
        if (code >= 0xD800 && code < 0xE000)
            throw std::invalid_argument("holds half a surrogate pair, which is no text");
        append(to, code);
    }

    std::string string() {
        std::string made;
        take("\"");
        for (;;) {
            const std::size_t n = left_.find_first_of("\"\\");
            if (n == std::string_view::npos) fail("a string does not end");
            for (const char c : left_.substr(0, n))
                if (static_cast<unsigned char>(c) < 0x20)
                    fail("a string holds a control character");
            made.append(left_.substr(0, n));
            left_.remove_prefix(n);
            if (take("\"")) return made;
            take("\\");
            escape(made);
        }
    }

    std::string_view left_;
};

}  // namespace

const char* Json::kind() const {
    constexpr const char* kKinds[] = {"null",     "true or false", "a whole number", "a number",
                                      "a string", "a list",        "an object"};
    return kKinds[value.index()];
}

const Json* Json::find(std::string_view name) const {
    for (const auto& [key, member] : as<Object>())
        if (key == name) return &member;
    return nullptr;
}

Json parse_json(std::string_view text) {
    return Parser(text).whole();
}

}  // namespace vaexprs::artifact
