#include "wire.hpp"

#include <stdexcept>

namespace vaexprs::onnx {

namespace {

/// Reads seven bits from each byte, the lowest first, up to the first byte below 128.
std::uint64_t take_varint(Bytes& view, const std::string& what) {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
        if (view.empty()) refuse(what + " is cut off in the middle of a number.");
        const auto byte = static_cast<unsigned char>(view.front());
        view.remove_prefix(1);
        if (shift == 63 && byte > 1) break;
        value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
        if (byte < 0x80) return value;
    }
    refuse(what + " has a number of more than 64 bits: damaged bytes.");
}

}  // namespace

void refuse(const std::string& problem) {
    throw std::invalid_argument(problem);
}

std::string quoted(Bytes name) {
    std::string text("'");
    return text.append(name.substr(0, 200)).append("'");
}

bool is_utf8(Bytes text) {
    for (std::size_t i = 0; i < text.size();) {
        const auto byte = [&](std::size_t k) {
            return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0u;
        };
        const unsigned first = byte(0);
        const std::size_t length = first < 0x80                     ? 1
                                   : first >= 0xC2 && first <= 0xDF ? 2
                                   : first >= 0xE0 && first <= 0xEF ? 3
                                   : first >= 0xF0 && first <= 0xF4 ? 4
                                                                    : 0;
        if (length == 0) return false;
        for (std::size_t k = 1; k < length; ++k) {
            if ((byte(k) & 0xC0) != 0x80) return false;
        }
        if ((first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F) ||
            (first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) > 0x8F))
            return false;
        i += length;
    }
    return true;
}

Bytes checked_text(Bytes text, const std::string& what, std::size_t limit) {
    if (text.size() > limit) {
        refuse(what + " has " + std::to_string(text.size()) + " bytes, more than " +
               std::to_string(limit) + ".");
    }
    if (!is_utf8(text)) refuse(what + " is not UTF-8.");
    return text;
}

std::vector<std::int64_t> packed_integers(Bytes view, const std::string& what) {
    std::vector<std::int64_t> numbers;
    while (!view.empty()) {
        if (numbers.size() >= kMaxNumbers) {
            refuse(what + " has more than " + std::to_string(kMaxNumbers) +
                   " numbers: use raw_data.");
        }
        numbers.push_back(static_cast<std::int64_t>(take_varint(view, what)));
    }
    return numbers;
}

Message::Message(Schema schema, std::string what)
    : schema_(schema), what_(std::move(what)), fields_(schema.size()) {}

const Message::Field& Message::operator[](Bytes name) const {
    for (std::size_t i = 0; i < schema_.size(); ++i) {
        if (name == schema_[i].name) return fields_[i];
    }
    throw std::logic_error("a schema lacks a field that is asked for");
}

std::int64_t Message::integer(Bytes name, std::int64_t otherwise) const {
    const Field& field = (*this)[name];
    return field.there ? field.integer : otherwise;
}

Bytes Message::text(Bytes name, std::size_t limit) const {
    return checked_text((*this)[name].bytes, what_ + "." + std::string(name), limit);
}

WireReader::Field WireReader::next(Bytes& view, const std::string& what) {
    if (++n_fields_ > kMaxFields)
        refuse("the file has more than " + std::to_string(kMaxFields) + " fields.");
    const std::size_t before = view.size();
    const std::uint64_t tag = take_varint(view, what);
    Field field{tag >> 3, static_cast<std::uint8_t>(tag & 7), 0, {}, 0};
    if (field.number == 0 || field.number >= std::uint64_t{1} << 29) {
        refuse(what + " has a field of number " + std::to_string(field.number) +
               ": damaged bytes.");
    }
    const auto type = static_cast<WireType>(field.wire_type);
    if (type == WireType::varint) {
        field.integer = static_cast<std::int64_t>(take_varint(view, what));
    } else {
        std::uint64_t length = 0;
        if (type == WireType::length) {
            length = take_varint(view, what);
        } else if (type == WireType::fixed32 || type == WireType::fixed64) {
            length = type == WireType::fixed32 ? 4 : 8;
        } else {
            refuse(what + " has a field of wire type " + std::to_string(field.wire_type) +
                   ": damaged bytes.");
        }
        if (length > view.size()) {
            refuse(what + " is cut off: field " + std::to_string(field.number) + " needs " +
                   std::to_string(length) + " bytes and " + std::to_string(view.size()) +
                   " are left.");
        }
        field.bytes = view.substr(0, static_cast<std::size_t>(length));
        view.remove_prefix(static_cast<std::size_t>(length));
    }
    field.size = before - view.size();
    return field;
}

Message WireReader::message(Bytes view, Schema schema, const std::string& what) {
    Message found(schema, what);
    while (!view.empty()) {
        const Field field = next(view, what);
        std::size_t place = 0;
        while (place < schema.size() && schema[place].number != field.number)
            ++place;
        if (place == schema.size()) {
            refuse(what + " has a field of number " + std::to_string(field.number) +
                   ", which an artifact has no use for.");
        }
        const FieldRule& rule = schema[place];
        Message::Field& to = found.at(place);
        const std::string name = what + "." + rule.name;
        const auto type = static_cast<WireType>(field.wire_type);
        const bool is_packed =
            rule.is_repeated && type == WireType::length && rule.type != WireType::length;
        if (!is_packed && type != rule.type) {
            refuse(name + " has the wire type " + std::to_string(field.wire_type) + ", not " +
                   std::to_string(static_cast<int>(rule.type)) + ".");
        }
        if (!rule.is_repeated) {
            if (to.there) refuse(name + " is there twice.");
            to.integer = field.integer;
            to.bytes = field.bytes;
        } else if (rule.type == WireType::length) {
            to.all.push_back(field.bytes);
        } else {
            const auto numbers = is_packed ? packed_integers(field.bytes, name)
                                           : std::vector<std::int64_t>{field.integer};
            to.integers.insert(to.integers.end(), numbers.begin(), numbers.end());
            if (to.integers.size() > kMaxNumbers)
                refuse(name + " has more than " + std::to_string(kMaxNumbers) + " numbers.");
        }
        to.there = true;
    }
    return found;
}

}  // namespace vaexprs::onnx
