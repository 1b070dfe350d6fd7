// Atomic saves: what is on disk after success and after each system call's failure; checksums; reading whole files.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <limits>

#include "descent/io.h"
#include "io/append_file.h"
#include "io/checked_size.h"
#include "io/file_calls.h"
#include "support/files.h"

namespace descent::io {
namespace {

using test::bytes_of;
using test::TempDir;

// Which call fails once, and with which error. These are globals because the test hooks are plain functions.
struct Fault {
  std::string call;
  int error = 0;
  int skip = 0;  // this many calls succeed first
};
Fault fault;
std::vector<std::string> journal;

bool fails(const std::string& call) {
  journal.push_back(call);
  if (fault.call != call || fault.skip-- > 0) return false;
  fault.call.clear();
  errno = fault.error;
  return true;
}

constexpr FileCalls kFaulty = {
    .open =
        [](const char* path, int flags, mode_t mode) {
          return fails((flags & O_DIRECTORY) != 0 ? "open directory" : "open") ? -1 : ::open(path, flags, mode);
        },
    .write = [](int file, const void* bytes, std::size_t count) -> ssize_t {
      return fails("write") ? -1 : ::write(file, bytes, std::min<std::size_t>(count, 3));  // short writes
    },
    .fsync = [](int file) { return fails("fsync") ? -1 : ::fsync(file); },
    .close =
        [](int file) {
          const bool failed = fails("close");
          const int status = ::close(file);
          if (failed) errno = fault.error;
          return failed ? -1 : status;
        },
    .rename = [](const char* from, const char* to) { return fails("rename") ? -1 : ::rename(from, to); },
};

void save_faulty(const std::string& path, const std::string& text) {
  journal.clear();
  const test::Bytes bytes = bytes_of(text);
  const std::span<const std::byte> piece = bytes;
  save_atomically(path, {&piece, 1}, kFaulty);
}

TEST(AtomicSave, WritesAndReplaces) {
  const TempDir dir;
  write_text(dir / "file", "old");
  write_text(dir / "file", "something new");
  EXPECT_EQ(read_text(dir / "file"), "something new");
  EXPECT_EQ(dir.entries(), 1U);
}

TEST(AtomicSave, GoesThroughItsStepsInOrder) {
  const TempDir dir;
  fault = {};
  save_faulty(dir / "file", "seven b");
  const std::vector<std::string> expected = {"open",  "write",  "write",          "write", "fsync",
                                             "close", "rename", "open directory", "fsync", "close"};
  EXPECT_EQ(journal, expected);
  EXPECT_EQ(read_text(dir / "file"), "seven b");
}

struct FaultCase {
  const char* name;
  Fault fault;
  const char* message;
  bool replaced;  // the new content is visible under its name, though it may not be durable
};

class AtomicSaveFault : public testing::TestWithParam<FaultCase> {};

TEST_P(AtomicSaveFault, KeepsTheOldFileAndLeavesNothingBehind) {
  const TempDir dir;
  write_text(dir / "file", "old");
  fault = GetParam().fault;
  // The error names the target file, not the temporary one.
  const std::string directory_only = GetParam().replaced ? dir.path() : dir / "file";
  EXPECT_ERROR("IoError", directory_only + ": " + GetParam().message, save_faulty(dir / "file", "new content"));
  EXPECT_EQ(read_text(dir / "file"), GetParam().replaced ? "new content" : "old");
  EXPECT_EQ(dir.entries(), 1U);
}

TEST_P(AtomicSaveFault, TheNextSaveWorks) {
  const TempDir dir;
  fault = GetParam().fault;
  EXPECT_THROW(save_faulty(dir / "file", "the first text"), IoError);
  fault = {};
  save_faulty(dir / "file", "second");
  EXPECT_EQ(read_text(dir / "file"), "second");
}

INSTANTIATE_TEST_SUITE_P(
    Calls, AtomicSaveFault,
    testing::Values(FaultCase{"open", {"open", EACCES, 0}, "create: Permission denied", false},
                    FaultCase{"first_write", {"write", ENOSPC, 0}, "write: No space left", false},
                    FaultCase{"later_write", {"write", EDQUOT, 2}, "write: Disk quota", false},
                    FaultCase{"file_too_large", {"write", EFBIG, 1}, "write: File too large", false},
                    FaultCase{"fsync", {"fsync", EIO, 0}, "fsync: Input/output error", false},
                    FaultCase{"close", {"close", EIO, 0}, "close: Input/output error", false},
                    FaultCase{"rename", {"rename", EROFS, 0}, "rename: Read-only file system", false},
                    FaultCase{"open_directory", {"open directory", EMFILE, 0}, "open directory: Too many", true},
                    FaultCase{"fsync_directory", {"fsync", EIO, 1}, "fsync directory: Input/output", true}),
    [](const auto& param) { return std::string(param.param.name); });

TEST(AtomicSave, FailedFsyncIsNotRetried) {
  const TempDir dir;
  fault = {"fsync", EIO, 0};
  EXPECT_THROW(save_faulty(dir / "file", "new"), IoError);
  EXPECT_EQ(std::count(journal.begin(), journal.end(), "fsync"), 1);
}

TEST(AtomicSave, InterruptedWritesGoOn) {
  const TempDir dir;
  fault = {"write", EINTR, 1};
  save_faulty(dir / "file", "all of it");
  EXPECT_EQ(read_text(dir / "file"), "all of it");
}

TEST(AtomicSave, StopsAtTheProcessLimit) {
  const TempDir dir;
  write_text(dir / "file", "old");
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{4096, 4096};
    setrlimit(RLIMIT_FSIZE, &limit);
    std::string message;
    const std::string kind = test::error_kind([&] { write_text(dir / "file", std::string(100'000, 'x')); }, &message);
    _exit(kind == "IoError" && message.find("File too large") != std::string::npos ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_text(dir / "file"), "old");
  EXPECT_EQ(dir.entries(), 1U);
}

// Every function that writes a file, called as a user would.
std::vector<std::pair<const char*, std::function<void(const std::string&)>>> writers() {
  return {{"text", [](const std::string& path) { write_text(path, "new"); }},
          {"tensors",
           [](const std::string& path) {
             save_tensors(path, {{{"x", Tensor::zeros({2})}}, {}});
           }},
          {"png",
           [](const std::string& path) {
             write_png(path, Tensor::zeros({2, 2}, DType::u8));
           }},
          {"append", [](const std::string& path) { EXPECT_EQ(append_file(path, "more"), 0); }}};
}

mode_t mode_of(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(stat(path.c_str(), &info), 0);
  return info.st_mode & 07777U;
}

TEST(FileIdentity, ModeIsKept) {
  for (const auto& [name, write] : writers()) {
    const TempDir dir;
    for (const mode_t mode : {0600U, 0640U, 0666U, 0755U, 02664U}) {
      write_text(dir / "file", "old");
      ASSERT_EQ(chmod((dir / "file").c_str(), mode), 0);
      write(dir / "file");
      EXPECT_EQ(mode_of(dir / "file"), mode) << name;
    }
    const mode_t before = umask(027);
    write(dir / "new");
    umask(before);
    EXPECT_EQ(mode_of(dir / "new"), 0640U) << name;
  }
}

TEST(FileIdentity, LinksAreFollowed) {
  namespace fs = std::filesystem;
  for (const auto& [name, write] : writers()) {
    const TempDir dir;
    make_directories(dir / "far/away");
    write_text(dir / "far/away/file", "old");
    ASSERT_EQ(chmod((dir / "far/away/file").c_str(), 0600), 0);
    fs::create_symlink("away/file", dir / "far/link");         // relative to the link's directory
    fs::create_symlink(dir / "far/link", dir / "link");        // a link to a link
    fs::create_symlink("far/away/later", dir / "to nothing");  // does not exist yet
    for (const char* link : {"link", "to nothing"}) {
      write(dir / link);
      EXPECT_TRUE(fs::is_symlink(dir / link)) << name;
    }
    EXPECT_NE(read_text(dir / "far/away/file"), "old") << name;
    EXPECT_EQ(mode_of(dir / "far/away/file"), 0600U) << name;
    EXPECT_TRUE(fs::is_symlink(dir / "far/link")) << name;
    EXPECT_TRUE(fs::is_regular_file(dir / "far/away/later")) << name;
    EXPECT_EQ(dir.entries(), 3U) << name;  // nothing was left next to a link
  }
}

TEST(FileIdentity, LinksThatLeadNowhereAreAnError) {
  const TempDir dir;
  std::filesystem::create_symlink("b", dir / "a");
  std::filesystem::create_symlink("a", dir / "b");
  EXPECT_ERROR("IoError", "Too many levels", write_text(dir / "a", "x"));
  std::filesystem::create_symlink("missing/file", dir / "c");
  EXPECT_ERROR("IoError", "No such file", write_text(dir / "c", "x"));
  std::filesystem::create_symlink("/dev/full", dir / "d");
  EXPECT_ERROR("IoError", "not a regular file", write_text(dir / "d", "x"));
  EXPECT_EQ(dir.entries(), 4U);
}

TEST(FileIdentity, TheOwnerIsKeptWhereThatIsAllowed) {
  if (geteuid() != 0) GTEST_SKIP() << "only root may give files away";
  const TempDir dir;
  write_text(dir / "file", "old");
  ASSERT_EQ(chown((dir / "file").c_str(), 12345, 23456), 0);
  write_text(dir / "file", "new");
  struct stat info {};
  ASSERT_EQ(stat((dir / "file").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 12345U);
  EXPECT_EQ(info.st_gid, 23456U);
}

TEST(AppendFile, AddsAllOrNothing) {
  const TempDir dir;
  EXPECT_EQ(append_file(dir / "log", "one\n"), 0);
  EXPECT_EQ(append_file(dir / "log", "two\n"), 0);
  EXPECT_EQ(append_file(dir / "none/log", "x"), ENOENT);
  EXPECT_EQ(append_file("/dev/full", "x"), ENOSPC);
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{10, 10};
    setrlimit(RLIMIT_FSIZE, &limit);
    _exit(append_file(dir / "log", "three, which is too long\n") == EFBIG && append_file(dir / "log", "3\n") == 0 ? 0
                                                                                                                  : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_text(dir / "log"), "one\ntwo\n3\n");
}

TEST(AtomicSave, RefusesWhatIsNotAFile) {
  const TempDir dir;
  EXPECT_ERROR("IoError", "/dev/full: replace (not a regular file)", write_text("/dev/full", "x"));
  EXPECT_ERROR("IoError", "Is a directory", write_text(dir.path(), "x"));
  EXPECT_ERROR("IoError", "No such file or directory", write_text(dir / "missing/file", "x"));
  write_text(dir / "file", "x");
  EXPECT_ERROR("IoError", "Not a directory", write_text(dir / "file/below", "x"));
  EXPECT_ERROR("IoError", "File name too long", write_text(dir / std::string(300, 'n'), "x"));
  struct stat info {};
  EXPECT_EQ(stat("/dev/full", &info), 0);
  EXPECT_TRUE(S_ISCHR(info.st_mode));
}

TEST(ReadFile, RefusesWhatItCannotRead) {
  const TempDir dir;
  EXPECT_ERROR("IoError", "open: No such file", read_file(dir / "none"));
  EXPECT_ERROR("IoError", "Is a directory", read_file(dir.path()));
  EXPECT_ERROR("IoError", "not a regular file", read_file("/dev/zero"));
  ASSERT_EQ(mkfifo((dir / "pipe").c_str(), 0600), 0);
  EXPECT_ERROR("IoError", "not a regular file", read_file(dir / "pipe"));
  write_text(dir / "file", "12345");
  EXPECT_ERROR("FormatError", "5 bytes, expected at most 4", read_file(dir / "file", 4));
  EXPECT_EQ(read_file(dir / "file", 5).size(), 5U);
}

// AddressSanitizer needs address space for its shadow memory, and this test limits address space.
#if !defined(DESCENT_ADDRESS_SANITIZER)
TEST(ReadFile, SaysWhenThereIsNoMemory) {
  const TempDir dir;
  write_text(dir / "sparse", "x");
  ASSERT_EQ(truncate((dir / "sparse").c_str(), off_t{1} << 36), 0);
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit{std::uint64_t{1} << 34, std::uint64_t{1} << 34};
    setrlimit(RLIMIT_AS, &limit);
    std::string message;
    const std::string kind = test::error_kind([&] { read_file(dir / "sparse"); }, &message);
    const bool works_again = read_file("/proc/self/exe", std::uint64_t{1} << 40).size() > 0;
    _exit(kind == "OutOfMemory" && message.find("68719476736 bytes wanted") != std::string::npos && works_again ? 0
                                                                                                                : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}
#endif

TEST(MakeDirectories, MakesParents) {
  const TempDir dir;
  EXPECT_TRUE(make_directories(dir / "a/b/c"));
  EXPECT_FALSE(make_directories(dir / "a/b/c"));
  EXPECT_FALSE(make_directories(dir / "a/b"));
  for (const char* spelling : {"s/", "t//", "u/.", "./v", "w/x/./"}) {
    EXPECT_TRUE(make_directories(dir / spelling)) << spelling;
    EXPECT_FALSE(make_directories(dir / spelling)) << spelling;
  }
  EXPECT_TRUE(std::filesystem::is_directory(dir / "a/b/c"));
  write_text(dir / "file", "x");
  EXPECT_ERROR("IoError", "create directory", make_directories(dir / "file/x"));
  EXPECT_ERROR("IoError", "File name too long", make_directories(dir / std::string(300, 'x')));
}

// RFC 3720, appendix B.4.
TEST(Crc32c, StandardVectors) {
  EXPECT_EQ(crc32c(bytes_of("123456789")), 0xE3069283U);
  EXPECT_EQ(crc32c({}), 0U);
  EXPECT_EQ(crc32c(test::Bytes(32, std::byte{0})), 0x8A9136AAU);
  EXPECT_EQ(crc32c(test::Bytes(32, std::byte{0xFF})), 0x62A8AB43U);
  test::Bytes rising(32);
  for (std::size_t i = 0; i < rising.size(); ++i) rising[i] = static_cast<std::byte>(i);
  EXPECT_EQ(crc32c(rising), 0x46DD794EU);
}

TEST(Crc32c, GoesOnWhereItStopped) {
  const test::Bytes all = bytes_of("the quick brown fox jumps over the lazy dog");
  for (std::size_t cut = 0; cut <= all.size(); ++cut) {
    const std::span<const std::byte> bytes = all;
    EXPECT_EQ(crc32c(bytes.subspan(cut), crc32c(bytes.first(cut))), crc32c(all));
  }
}

// FIPS 180-4 and NIST's examples.
TEST(Sha256, StandardVectors) {
  EXPECT_EQ(sha256_hex({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex(bytes_of("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex(bytes_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(bytes_of(std::string(1'000'000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

// Lengths around which the padding needs another block; digests from `printf ... | sha256sum`.
TEST(Sha256, PaddingBoundaries) {
  EXPECT_EQ(sha256_hex(bytes_of(std::string(55, 'a'))),
            "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
  EXPECT_EQ(sha256_hex(bytes_of(std::string(56, 'a'))),
            "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a");
  EXPECT_EQ(sha256_hex(bytes_of(std::string(64, 'a'))),
            "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
}

TEST(CheckedSize, OverflowSticks) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  EXPECT_TRUE((CheckedSize(6) * 7).equals(42));
  EXPECT_TRUE((CheckedSize(kMost) + 0).within(kMost));
  EXPECT_FALSE((CheckedSize(kMost) + 1).within(kMost));
  EXPECT_FALSE((CheckedSize(std::uint64_t{1} << 32) * (std::uint64_t{1} << 32)).within(kMost));
  EXPECT_FALSE((CheckedSize(std::uint64_t{1} << 32) * (std::uint64_t{1} << 32) * 0).equals(0));
  EXPECT_FALSE((CheckedSize(1) + (CheckedSize(kMost) + 1)).within(kMost));
}

}  // namespace
}  // namespace descent::io
