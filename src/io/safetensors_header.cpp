// A state machine over the parser's events, which rejects at once whatever is not exactly a safetensors header.
#include "io/safetensors_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "descent/error.h"
#include "descent/io.h"
#include "io/checked_size.h"
#include "io/json.h"

namespace descent::io {
namespace {

using Json = nlohmann::json;

constexpr std::array<FileType, 22> kTypes = {{{"F32", 32, DType::f32},
                                              {"F64", 64, DType::f64},
                                              {"I32", 32, DType::i32},
                                              {"U8", 8, DType::u8},
                                              {"BF16", 16, DType::bf16},
                                              {"F16", 16, DType::f32},
                                              {"I64", 64, DType::i32},
                                              {"BOOL", 8},
                                              {"F4", 4},
                                              {"F6_E2M3", 6},
                                              {"F6_E3M2", 6},
                                              {"I8", 8},
                                              {"F8_E5M2", 8},
                                              {"F8_E4M3", 8},
                                              {"F8_E8M0", 8},
                                              {"F8_E4M3FNUZ", 8},
                                              {"F8_E5M2FNUZ", 8},
                                              {"I16", 16},
                                              {"U16", 16},
                                              {"U32", 32},
                                              {"C64", 64},
                                              {"U64", 64}}};

[[noreturn]] void fail(const std::string& source, const std::string& what) {
  throw FormatError(fmt::format("{}: safetensors header: {}", escape_path(source, 200), what));
}

class HeaderEvents : public nlohmann::json_sax<Json> {
 public:
  HeaderEvents(const std::string& source, const HeaderLimits& limits, Header& header)
      : source_(source), limits_(limits), header_(header) {}

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_integer(number_integer_t value) override { return unexpected(fmt::format("the number {}", value)); }
  bool number_float(number_float_t, const string_t& text) override { return unexpected("the number " + escape(text)); }
  bool binary(binary_t&) override { return unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::shape) {
      if (entry().dims.size() == limits_.rank) fail_entry(fmt::format("rank above {}", limits_.rank));
      count(kDimensionBytes);
      entry().dims.push_back(value);
    } else if (place_ == Place::offsets) {
      if (offsets_ == 2) fail_entry("data_offsets has more than 2 numbers");
      (offsets_ == 0 ? entry().begin : entry().end) = value;
      ++offsets_;
    } else {
      return unexpected(fmt::format("the number {}", value));
    }
    return true;
  }

  // Copies, since moving from the parser's buffer would keep its capacity, which is that of the longest string so far.
  bool string(string_t& value) override {
    if (place_ == Place::metadata) {
      header_.metadata.emplace(key_, value);
    } else if (place_ == Place::tensor && key_ == "dtype") {
      entry().type = value;
    } else {
      return unexpected("a string");
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::outside) {
      place_ = Place::top;
    } else if (place_ == Place::top) {
      place_ = key_ == "__metadata__" ? Place::metadata : Place::tensor;
      fields_.clear();
    } else {
      return unexpected("an object");
    }
    return true;
  }

  bool key(string_t& name) override {
    key_ = name;
    if (place_ == Place::top) {
      if (name.size() > limits_.name_bytes)
        fail(source_, fmt::format("a name of {} bytes, expected at most {}", name.size(), limits_.name_bytes));
      if (name == "__metadata__") {
        if (has_metadata_) fail(source_, "duplicate key " + quoted(name));
        has_metadata_ = true;
        return true;
      }
      if (header_.entries.size() == limits_.tensors)
        fail(source_, fmt::format("more than {} tensors", limits_.tensors));
      count(kEntryBytes);
      header_.entries.emplace_back().name = name;
    } else if (place_ == Place::metadata) {
      if (header_.metadata.contains(name)) fail(source_, "duplicate key " + quoted(name) + " in __metadata__");
      if (header_.metadata.size() == 2 * limits_.tensors) fail(source_, "too many keys in __metadata__");
      count(kFieldBytes);
    } else {
      if (name != "dtype" && name != "shape" && name != "data_offsets") fail_entry("unknown field " + quoted(name));
      if (!fields_.insert(name).second) fail_entry("field " + quoted(name) + " appears twice");
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::tensor) {
      for (const char* field : {"dtype", "shape", "data_offsets"}) {
        if (!fields_.contains(field)) fail_entry(fmt::format("field \"{}\" is missing", field));
      }
    }
    place_ = place_ == Place::top ? Place::outside : Place::top;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ == Place::tensor && key_ == "shape") {
      place_ = Place::shape;
    } else if (place_ == Place::tensor && key_ == "data_offsets") {
      place_ = Place::offsets;
      offsets_ = 0;
    } else {
      return unexpected("an array");
    }
    return true;
  }

  bool end_array() override {
    if (place_ == Place::offsets && offsets_ != 2) fail_entry("data_offsets needs 2 numbers");
    place_ = Place::tensor;
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const Json::exception&) override { return false; }

 private:
  enum class Place { outside, top, metadata, tensor, shape, offsets };

  // Upper bounds, the spare capacity of growing vectors included.
  static constexpr std::size_t kEntryBytes = 2 * sizeof(HeaderEntry);
  static constexpr std::size_t kDimensionBytes = 2 * sizeof(std::uint64_t);
  static constexpr std::size_t kFieldBytes = 128;  // a map node with two short strings

  void count(std::size_t bytes) {
    structure_bytes_ += bytes;
    if (structure_bytes_ > limits_.structure_bytes) {
      fail(source_, fmt::format("its {} tensors and their shapes, and {} metadata fields, take too much memory",
                                header_.entries.size(), header_.metadata.size()));
    }
  }
  HeaderEntry& entry() { return header_.entries.back(); }
  static std::string quoted(const std::string& name) { return "\"" + escape(name) + "\""; }
  [[noreturn]] void fail_entry(const std::string& what) {
    fail(source_, fmt::format("tensor {}: {}", quoted(entry().name), what));
  }
  [[noreturn]] bool unexpected(const std::string& what) {
    if (place_ == Place::outside || (place_ == Place::top && key_.empty())) {
      fail(source_, what + ", expected an object of tensors");
    }
    if (place_ == Place::metadata)
      fail(source_, fmt::format("__metadata__ {}: {}, expected a string", quoted(key_), what));
    if (place_ == Place::top) fail(source_, fmt::format("{}: {}, expected an object", quoted(key_), what));
    if (place_ == Place::tensor) fail_entry(fmt::format("field {}: unexpected {}", quoted(key_), what));
    fail_entry(fmt::format("{}: {}, expected an integer of at least 0",
                           place_ == Place::shape ? "shape" : "data_offsets", what));
  }

  const std::string& source_;
  const HeaderLimits& limits_;
  Header& header_;
  Place place_ = Place::outside;
  std::string key_;
  int offsets_ = 0;
  std::size_t structure_bytes_ = 0;
  bool has_metadata_ = false;
  std::set<std::string> fields_;
};

void check_entry(const HeaderEntry& entry, std::uint64_t data_bytes, const std::string& source, bool only_loadable) {
  const auto fail_entry = [&](const std::string& what) {
    fail(source, fmt::format("tensor \"{}\": {}", escape(entry.name), what));
  };
  const FileType* type = find_file_type(entry.type);
  if (only_loadable && (type == nullptr || !type->dtype)) {
    fail_entry(
        fmt::format("type {} can't be loaded, expected F32, F64, F16, BF16, I32, I64 or U8", escape(entry.type, 20)));
  }
  CheckedSize nonzero(1);
  bool empty = false;
  for (const std::uint64_t dim : entry.dims) {
    empty = empty || dim == 0;
    if (dim != 0) nonzero = nonzero * dim;
  }
  const std::string dims = fmt::format("[{}]", fmt::join(entry.dims, ", "));
  // As in Shape, for the largest element type, so that no size in bytes can overflow.
  if (!(nonzero * 8).within((std::uint64_t{1} << 63U) - 1)) fail_entry(fmt::format("shape {} overflows", dims));
  if (entry.begin > entry.end || entry.end > data_bytes) {
    fail_entry(
        fmt::format("data_offsets [{}, {}] are not within the {} bytes of data", entry.begin, entry.end, data_bytes));
  }
  if (type == nullptr) return;  // listed only; its element size is unknown
  const CheckedSize bits = CheckedSize(empty ? 0 : nonzero.value() % 8) * type->bits;
  if (bits.value() % 8 != 0) {
    fail_entry(fmt::format("{} of shape {} ends within a byte", type->name, dims));
  }
  // Whole bytes first: the number of bits could overflow.
  const std::uint64_t expected = empty ? 0 : nonzero.value() / 8 * type->bits + bits.value() / 8;
  if (entry.end - entry.begin != expected) {
    fail_entry(fmt::format("data_offsets give {} bytes, {} of shape {} needs {}", entry.end - entry.begin, type->name,
                           dims, expected));
  }
}

// Sorts pointers, since a set of the names would take more memory than the names.
void check_names(const std::vector<HeaderEntry>& entries, const std::string& source) {
  std::vector<const HeaderEntry*> order;
  order.reserve(entries.size());
  for (const HeaderEntry& entry : entries) order.push_back(&entry);
  const auto by_name = [](const HeaderEntry* a, const HeaderEntry* b) { return a->name < b->name; };
  std::sort(order.begin(), order.end(), by_name);
  const auto same = [](const HeaderEntry* a, const HeaderEntry* b) { return a->name == b->name; };
  const auto found = std::adjacent_find(order.begin(), order.end(), same);
  if (found != order.end()) fail(source, fmt::format("duplicate key \"{}\"", escape((*found)->name)));
}

// The tensors must cover the data exactly: no byte unused, none used twice.
void check_tiling(const std::vector<HeaderEntry>& entries, std::uint64_t data_bytes, const std::string& source) {
  std::vector<const HeaderEntry*> order;
  order.reserve(entries.size());
  for (const HeaderEntry& entry : entries) order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](const HeaderEntry* a, const HeaderEntry* b) {
    return a->begin != b->begin ? a->begin < b->begin : a->end < b->end;
  });
  std::uint64_t at = 0;
  for (const HeaderEntry* entry : order) {
    if (entry->begin != at) {
      fail(source, fmt::format("tensor \"{}\" begins at data byte {}, {} byte {}", escape(entry->name), entry->begin,
                               entry->begin > at ? "a hole after" : "an overlap before", at));
    }
    at = entry->end;
  }
  if (at != data_bytes) fail(source, fmt::format("tensors end at data byte {}, but there are {}", at, data_bytes));
}

}  // namespace

const FileType* find_file_type(std::string_view name) {
  const auto* found =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const FileType& type) { return type.name == name; });
  return found == kTypes.end() ? nullptr : found;
}

const FileType& file_type_of(DType dtype, bool as_i64) {
  if (as_i64) return *find_file_type("I64");
  return *std::find_if(kTypes.begin(), kTypes.end(), [&](const FileType& type) { return type.dtype == dtype; });
}

Shape HeaderEntry::shape() const {
  const std::vector<std::int64_t> signed_dims(dims.begin(), dims.end());
  return Shape(std::span<const std::int64_t>(signed_dims));
}

std::uint64_t header_length(std::span<const std::byte> first, std::uint64_t file_bytes, const std::string& source) {
  if (file_bytes < 8 || first.size() < 8) {
    fail(source, fmt::format("the file has {} bytes, expected at least 8 for the header's length", file_bytes));
  }
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < 8; ++i) length |= std::to_integer<std::uint64_t>(first[i]) << (8 * i);
  if (length > kMaxHeaderBytes) {
    fail(source, fmt::format("byte 0: length {}, expected at most {}", length, kMaxHeaderBytes));
  }
  if (length > file_bytes - 8) {
    fail(source, fmt::format("byte 0: length {}, but {} bytes follow (truncated file)", length, file_bytes - 8));
  }
  return length;
}

Header parse_header(std::string_view json, std::uint64_t file_bytes, const std::string& source,
                    const HeaderLimits& limits) {
  const auto begin = json.find_first_not_of(" \n\r\t");  // as the reference implementation does
  if (begin == std::string_view::npos || json[begin] != '{')
    fail(source, "byte 8: expected the JSON to begin with a brace");
  Header header;
  HeaderEvents events(source, limits, header);
  parse_json_events(json, source, {.depth = 8, .string_bytes = limits.string_bytes}, events);
  check_names(header.entries, source);
  header.data_offset = 8 + json.size();
  const std::uint64_t data_bytes = file_bytes - header.data_offset;
  for (const HeaderEntry& entry : header.entries) check_entry(entry, data_bytes, source, limits.only_loadable);
  check_tiling(header.entries, data_bytes, source);
  return header;
}

}  // namespace descent::io
