// Reading PTX as text: white space, words, brackets.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace simulated::ptx {

// A map keyed by names that can be searched with string views.
struct NameHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view name) const { return std::hash<std::string_view>()(name); }
};
template <class T>
using Names = std::unordered_map<std::string, T, NameHash, std::equal_to<>>;

// The text with comments replaced by spaces.
std::string without_comments(std::string text);

std::string_view trimmed(std::string_view text);

// The pieces between top-level commas (outside all brackets), trimmed.
std::vector<std::string_view> split_at_commas(std::string_view text);

// With white space collapsed to single spaces: for messages.
std::string on_one_line(std::string_view text);

// Scans a text without comments. Throws Error if a bracket, string or statement does not end.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  bool done();                         // only white space is left
  char peek();                         // the next character that is not white space; 0 at the end
  bool take(char c);                   // skips c if it comes next
  std::string_view word();             // up to white space, a bracket or one of , ; : = (but not ::); may be empty
  std::string_view until_semicolon();  // and skips the ';'; ignores those in brackets and strings
  std::string_view enclosed();         // at an opening bracket: the enclosed text; skips the closing bracket

 private:
  std::size_t end_of_string(std::size_t at) const;
  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace simulated::ptx
