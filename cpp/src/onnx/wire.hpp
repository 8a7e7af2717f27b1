// The protobuf wire format of .onnx files, read strictly and within bounds.
//
// The twin of vaexprs/artifact/onnx/wire.py, with the same refusals in the same words: a test gives
// both the same files. Messages are read one level at a time, as views into the file; nothing
// recurses, and no memory is taken for lengths that the bytes merely claim.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vaexprs::onnx {

using Bytes = std::string_view;

inline constexpr std::size_t kMaxFields = 200'000;  ///< in a whole file
inline constexpr std::size_t kMaxNumbers = 4096;    ///< in one repeated field
inline constexpr std::size_t kMaxText = 4096;       ///< bytes of a name

/// Throws std::invalid_argument.
[[noreturn]] void refuse(const std::string& problem);

/// A name as messages show it.
std::string quoted(Bytes name);

/// Whether bytes are UTF-8 without surrogates and overlong forms.
bool is_utf8(Bytes text);

enum class WireType : std::uint8_t { varint = 0, fixed64 = 1, length = 2, fixed32 = 5 };

/// A field that a message may have. The number of `type` says how it is stored: an integer, a float
/// (its four bytes), or text, bytes, a message or packed numbers (a view).
struct FieldRule {
    std::uint32_t number;
    const char* name;
    WireType type;
    bool is_repeated = false;
};
using Schema = std::span<const FieldRule>;

/// One level of a message.
class Message {
  public:
    struct Field {
        bool there = false;
        std::int64_t integer = 0;
        Bytes bytes;
        std::vector<std::int64_t> integers;  ///< of repeated fields, like the next
        std::vector<Bytes> all;
    };

    Message(Schema schema, std::string what);
    Field& at(std::size_t place) { return fields_[place]; }
    /// The field of a name that the schema has.
    const Field& operator[](Bytes name) const;
    bool has(Bytes name) const { return (*this)[name].there; }
    std::int64_t integer(Bytes name, std::int64_t otherwise = 0) const;
    /// A text, empty where the field is absent; refused where it is too long or no UTF-8.
    Bytes text(Bytes name, std::size_t limit = kMaxText) const;
    const std::string& what() const { return what_; }

  private:
    Schema schema_;
    std::string what_;
    std::vector<Field> fields_;
};

/// Checks a text that is one of several in a repeated field.
Bytes checked_text(Bytes text, const std::string& what, std::size_t limit = kMaxText);

/// Reads packed integers, of which there may be few.
std::vector<std::int64_t> packed_integers(Bytes view, const std::string& what);

/// Reads the messages of one file, and counts their fields.
class WireReader {
  public:
    struct Field {
        std::uint64_t number;
        std::uint8_t wire_type;
        std::int64_t integer;
        Bytes bytes;
        std::size_t size;  ///< with its tag
    };

    Message message(Bytes view, Schema schema, const std::string& what);
    /// Takes the next field from the front of a view.
    Field next(Bytes& view, const std::string& what);

  private:
    std::size_t n_fields_ = 0;
};

}  // namespace vaexprs::onnx
