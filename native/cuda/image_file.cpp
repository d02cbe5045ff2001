#include "image_file.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "../core/failure.hpp"
#include "../core/hash128.hpp"
#include "../core/mapped_file.hpp"
#include "sources.hpp"

namespace tileloom {
namespace {

constexpr char kMagic[8] = {'T', 'L', 'C', 'U', 'D', 'A', '0', '1'};
constexpr uint64_t kSourcesOffset = sizeof kMagic;
constexpr uint64_t kPayloadDigestOffset = kSourcesOffset + 16;
constexpr uint64_t kHeadBytes = kPayloadDigestOffset + 16;
// Judgement: a few hundred times what the kernels take.
constexpr off_t kFileBytesMax = off_t{64} << 20;

[[noreturn]] void refuse(const char *reason) { throw Failure(TL_IMAGE_UNUSABLE, reason); }

// Asks before it opens: opening a pipe would wait for a writer.
void check_file(const std::string &path) {
  struct stat facts;
  if (stat(path.c_str(), &facts) != 0) {
    refuse(errno == ENOENT ? "does not exist" : "cannot be reached");
  }
  if (!S_ISREG(facts.st_mode)) {
    refuse("is not a regular file");
  }
  if (facts.st_size > kFileBytesMax) {
    refuse("is no image of these kernels: larger than 64 MiB");
  }
}

bool digest_differs(const Digest128 &digest, const uint8_t *at) {
  return std::memcmp(digest.bytes, at, sizeof digest.bytes) != 0;
}

}  // namespace

std::vector<uint8_t> read_image_file(const std::string &path) {
  check_file(path);
  MappedFile file;
  try {
    file.copy(path.c_str());
  } catch (const Failure &failure) {
    if (failure.status == TL_OUT_OF_MEMORY) {
      throw;
    }
    refuse(failure.os_errno == EACCES ? "may not be read" : "cannot be read");
  }
  if (file.size() < sizeof kMagic || std::memcmp(file.data(), kMagic, sizeof kMagic) != 0) {
    refuse("is no image file: it does not begin with TLCUDA01");
  }
  if (file.size() <= kHeadBytes) {
    refuse("is damaged: it ends too soon");
  }
  if (digest_differs(sources_digest(), file.data() + kSourcesOffset)) {
    refuse("was made of other kernel sources; build it again");
  }
  const uint8_t *payload = file.data() + kHeadBytes;
  const uint64_t bytes = file.size() - kHeadBytes;
  if (digest_differs(hash128(payload, bytes), file.data() + kPayloadDigestOffset)) {
    refuse("is damaged: its contents do not match its digest");
  }
  return std::vector<uint8_t>(payload, payload + bytes);
}

void write_image_file(const std::string &path, const std::vector<uint8_t> &payload) {
  const Digest128 sources = sources_digest();
  const Digest128 digest = hash128(payload.data(), payload.size());
  const FilePiece pieces[] = {{kMagic, sizeof kMagic},
                              {sources.bytes, sizeof sources.bytes},
                              {digest.bytes, sizeof digest.bytes},
                              {payload.data(), payload.size()}};
  write_file_atomically(path.c_str(), pieces, 4, false);
}

}  // namespace tileloom
