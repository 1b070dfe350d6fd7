// Error messages are one line, bounded, and printable; and callers can tell the error classes apart.
#include "descent/error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

namespace descent {
namespace {

TEST(ErrorText, IsOneLine) { EXPECT_STREQ(InvalidArgument("a\nb\tc\x7f").what(), "a b c "); }

TEST(ErrorText, HasAtMost400Characters) {
  const std::string text = FormatError(std::string(1000, 'x')).what();
  EXPECT_EQ(text.size(), 400U);
  EXPECT_EQ(text.substr(396), "x...");
  EXPECT_EQ(std::string(FormatError(std::string(400, 'x')).what()), std::string(400, 'x'));
}

TEST(ErrorText, IsNeverCutInsideACharacter) {
  std::string text(395, 'x');
  for (int i = 0; i < 10; ++i) text += "\xE2\x82\xAC";  // three bytes each
  const std::string cut = FormatError(text).what();
  EXPECT_LE(cut.size(), 400U);
  EXPECT_EQ(cut, std::string(395, 'x') + "...");
}

TEST(ErrorText, IoErrorNamesPathOperationAndReason) {
  EXPECT_STREQ(IoError("/tmp/a\nb", "open", ENOENT).what(), "/tmp/a\\x0ab: open: No such file or directory");
}

TEST(ErrorText, OutOfMemoryNamesBytes) {
  const OutOfMemory error("tensor [4]", 16, 8);
  EXPECT_STREQ(error.what(), "tensor [4]: out of memory: 16 bytes wanted, 8 bytes free");
  EXPECT_EQ(error.bytes_wanted(), 16U);
}

TEST(Escape, ReplacesWhatIsNotPlain) {
  EXPECT_EQ(escape("abc 123"), "abc 123");
  EXPECT_EQ(escape(std::string_view("\0\n\"'\\\x80\xff", 7)), "\\x00\\x0a\\x22\\x27\\x5c\\x80\\xff");
}

TEST(Escape, LeavesUtf8AsItIs) {
  EXPECT_EQ(escape("\xC3\xA9t\xC3\xA9 \xE6\x95\xB0 \xF0\x9F\x98\x80"),
            "\xC3\xA9t\xC3\xA9 \xE6\x95\xB0 \xF0\x9F\x98\x80");
  // C1 controls, a direction override, a line separator; an overlong slash, a surrogate, a cut character, U+110000.
  EXPECT_EQ(escape_path("\xC2\x9B[m"), "\\xc2\\x9b[m");
  EXPECT_EQ(escape_path("\xE2\x80\xAE"), "\\xe2\\x80\\xae");
  EXPECT_EQ(escape_path("\xD8\x9C|\xE2\x80\x8E|\xE2\x80\x8F"), "\\xd8\\x9c|\\xe2\\x80\\x8e|\\xe2\\x80\\x8f");  // marks
  EXPECT_EQ(escape_path("\xE2\x80\xA8"), "\\xe2\\x80\\xa8");
  EXPECT_EQ(escape_path("\xC0\xAF"), "\\xc0\\xaf");
  EXPECT_EQ(escape_path("\xED\xA0\x80"), "\\xed\\xa0\\x80");
  EXPECT_EQ(escape_path("a\xE6\x95"), "a\\xe6\\x95");
  EXPECT_EQ(escape_path("\xF4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
}

TEST(Escape, LeavesPathsAsTheyCanBeTyped) {
  EXPECT_EQ(escape_path("it's \"my\" d\xC3\xA9p\xC3\xB4t\\x\n\x1b\xE9"),
            "it's \"my\" d\xC3\xA9p\xC3\xB4t\\x\\x0a\\x1b\\xe9");
  EXPECT_STREQ(IoError("d\xC3\xA9p\xC3\xB4t\xE9", "open", ENOENT).what(),
               "d\xC3\xA9p\xC3\xB4t\\xe9: open: No such file or directory");
}

TEST(ErrorText, IsUtf8) { EXPECT_STREQ(FormatError("a\xE9z\xC2\x9B").what(), "a?z??"); }

TEST(Escape, CutsWholeEscapes) {
  EXPECT_EQ(escape("abcdef", 3), "abc...");
  EXPECT_EQ(escape("ab\n", 5), "ab...");
  EXPECT_EQ(escape("ab\n", 6), "ab\\x0a");
  EXPECT_EQ(escape("abc", 3), "abc");
  EXPECT_EQ(escape("ab\xC3\xA9", 3), "ab...");
}

TEST(ErrorClasses, AllAreErrors) {
  EXPECT_THROW(throw IoError("x", "read", EIO), Error);
  EXPECT_THROW(throw FormatError("x"), Error);
  EXPECT_THROW(throw DeviceError("x"), Error);
  EXPECT_THROW(throw NumericalError("x"), Error);
  EXPECT_THROW(throw OutOfMemory("x", 1, 0), Error);
}

}  // namespace
}  // namespace descent
