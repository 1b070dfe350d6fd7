// Splits and scans PTX text.
#include "ptx/text.h"

#include <algorithm>

#include "ptx/kernel.h"

namespace simulated::ptx {
namespace {

constexpr std::string_view kSpace = " \t\r\n";

[[noreturn]] void unfinished(const std::string& what) {
  throw Error(FaultKind::invalid_ptx, "PTX ends within " + what);
}

}  // namespace

std::string without_comments(std::string text) {
  for (std::size_t at = 0; (at = text.find_first_of("/\"", at)) != std::string::npos;) {
    std::size_t end = at + 1;
    if (text[at] == '"') {
      at = text.find('"', end);
      if (at == std::string::npos) unfinished("a string");
      ++at;
      continue;
    }
    if (text.compare(at, 2, "//") == 0) {
      end = std::min(text.find('\n', at), text.size());
    } else if (text.compare(at, 2, "/*") == 0) {
      end = text.find("*/", at + 2);
      if (end == std::string::npos) unfinished("a comment");
      end += 2;
    } else {
      at = end;
      continue;
    }
    std::fill(text.begin() + static_cast<std::ptrdiff_t>(at), text.begin() + static_cast<std::ptrdiff_t>(end), ' ');
    at = end;
  }
  return text;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::vector<std::string_view> split_at_commas(std::string_view text) {
  std::vector<std::string_view> pieces;
  if (trimmed(text).empty()) return pieces;
  std::size_t begin = 0;
  int depth = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '{' || c == '[' || c == '(') ++depth;
    if (c == '}' || c == ']' || c == ')') --depth;
    if (c != ',' || depth != 0) continue;
    pieces.push_back(trimmed(text.substr(begin, at - begin)));
    begin = at + 1;
  }
  pieces.push_back(trimmed(text.substr(begin)));
  return pieces;
}

std::string on_one_line(std::string_view text) {
  std::string line;
  for (const char c : trimmed(text)) {
    const bool space = kSpace.find(c) != std::string_view::npos;
    if (!space) line += c;
    if (space && line.back() != ' ') line += ' ';
  }
  return line;
}

char Scanner::peek() {
  at_ = std::min(text_.find_first_not_of(kSpace, at_), text_.size());
  return at_ < text_.size() ? text_[at_] : '\0';
}

bool Scanner::done() { return peek() == '\0'; }

bool Scanner::take(char c) {
  if (peek() != c) return false;
  ++at_;
  return true;
}

std::string_view Scanner::word() {
  peek();
  const std::size_t begin = at_;
  for (; at_ < text_.size(); ++at_) {
    if (text_.compare(at_, 2, "::") == 0) {
      ++at_;
    } else if (kSpace.find(text_[at_]) != std::string_view::npos ||
               std::string_view("()[]{},;:=").find(text_[at_]) != std::string_view::npos) {
      break;
    }
  }
  return text_.substr(begin, at_ - begin);
}

std::size_t Scanner::end_of_string(std::size_t at) const {
  const std::size_t end = text_.find('"', at + 1);
  if (end == std::string_view::npos) unfinished("a string");
  return end;
}

std::string_view Scanner::until_semicolon() {
  peek();
  const std::size_t begin = at_;
  int depth = 0;
  for (; at_ < text_.size(); ++at_) {
    const char c = text_[at_];
    if (c == '"') at_ = end_of_string(at_);
    if (c == '{' || c == '[' || c == '(') ++depth;
    if (c == '}' || c == ']' || c == ')') --depth;
    if (c == ';' && depth == 0) return trimmed(text_.substr(begin, at_++ - begin));
  }
  unfinished("`" + on_one_line(text_.substr(begin, 100)) + "`");
}

std::string_view Scanner::enclosed() {
  const std::size_t begin = at_ + 1;
  int depth = 0;
  while ((at_ = text_.find_first_of("{}[]()\"", at_)) != std::string_view::npos) {
    const char c = text_[at_];
    if (c == '"') {
      at_ = end_of_string(at_);
    } else {
      depth += c == '{' || c == '[' || c == '(' ? 1 : -1;
    }
    ++at_;
    if (depth == 0) return text_.substr(begin, at_ - 1 - begin);
  }
  unfinished("brackets");
}

}  // namespace simulated::ptx
