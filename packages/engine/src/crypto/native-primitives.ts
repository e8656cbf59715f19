/**
 * The primitives by OpenSSL and zstd, which Node carries and exports to native addons, called through
 * the foreign function interface. Compared with Node's interfaces to the same libraries, contexts are
 * kept instead of being made for each blob, results go straight to where they are wanted, and OpenSSL's
 * Poly1305 is within reach; small blobs take a third of the time.
 *
 * Memory is safe as long as lengths are: every call is synchronous, passes the length of the very
 * buffer it passes, and what is written is bounded by assertions before.
 */
import assert from 'node:assert/strict'
import { loadForeignFunctions } from '../foreign-functions.ts'
import { createNativeHashLanes, createPlainHashLanes, hashLanesAreSound } from './hash-lanes.ts'
import type { HashLanes, Primitives } from './primitives.ts'

/** Lengths of ciphers are 32-bit signed. */
const CIPHER_BYTES_MAX = 2 ** 30
const TAG_BYTES = 16n

function loadFunctions(ffi: typeof import('node:ffi')) {
  try {
    return ffi.dlopen(null, {
      ZSTD_createCCtx: { return: 'pointer', arguments: [] },
      ZSTD_createDCtx: { return: 'pointer', arguments: [] },
      ZSTD_compressCCtx: { return: 'u64', arguments: ['pointer', 'pointer', 'u64', 'pointer', 'u64', 'i32'] },
      ZSTD_decompressDCtx: { return: 'u64', arguments: ['pointer', 'pointer', 'u64', 'pointer', 'u64'] },
      ZSTD_isError: { return: 'u32', arguments: ['u64'] },
      SHA256: { return: 'pointer', arguments: ['pointer', 'u64', 'pointer'] },
      EVP_CIPHER_CTX_new: { return: 'pointer', arguments: [] },
      EVP_aes_256_ctr: { return: 'pointer', arguments: [] },
      EVP_aes_128_ecb: { return: 'pointer', arguments: [] },
      EVP_EncryptInit_ex: { return: 'i32', arguments: ['pointer', 'pointer', 'pointer', 'pointer', 'pointer'] },
      EVP_CIPHER_CTX_set_padding: { return: 'i32', arguments: ['pointer', 'i32'] },
      EVP_EncryptUpdate: { return: 'i32', arguments: ['pointer', 'pointer', 'pointer', 'pointer', 'i32'] },
      EVP_MAC_fetch: { return: 'pointer', arguments: ['pointer', 'pointer', 'pointer'] },
      EVP_MAC_CTX_new: { return: 'pointer', arguments: ['pointer'] },
      EVP_MAC_init: { return: 'i32', arguments: ['pointer', 'pointer', 'u64', 'pointer'] },
      EVP_MAC_update: { return: 'i32', arguments: ['pointer', 'pointer', 'u64'] },
      EVP_MAC_final: { return: 'i32', arguments: ['pointer', 'pointer', 'pointer', 'u64'] },
    }).functions
  } catch {
    // A Node that was linked with other versions of the libraries, or hides them.
    return undefined
  }
}

/** Undefined where OpenSSL hashes but one message at a time, which depends on the processor. */
function loadHashLanes(ffi: typeof import('node:ffi')): (() => HashLanes) | undefined {
  try {
    const { sha256_multi_block: takeMany, sha256_block_data_order: takeOne } = ffi.dlopen(null, {
      sha256_multi_block: { return: 'void', arguments: ['pointer', 'pointer', 'i32'] },
      sha256_block_data_order: { return: 'void', arguments: ['pointer', 'pointer', 'u64'] },
    }).functions
    const create = () => createNativeHashLanes({ takeMany, takeOne, addressOf: (memory) => ffi.getRawPointer(memory) })
    return hashLanesAreSound(create()) ? create : undefined
  } catch {
    return undefined
  }
}

/** Undefined where the runtime does not let its libraries be called. */
export function loadNativePrimitives(): Primitives | undefined {
  const ffi = loadForeignFunctions()
  const functions = ffi === undefined ? undefined : loadFunctions(ffi)
  if (ffi === undefined || functions === undefined) return undefined
  const {
    ZSTD_createCCtx, ZSTD_createDCtx, ZSTD_compressCCtx, ZSTD_decompressDCtx, ZSTD_isError, SHA256, EVP_CIPHER_CTX_new,
    EVP_aes_256_ctr, EVP_aes_128_ecb, EVP_EncryptInit_ex, EVP_CIPHER_CTX_set_padding, EVP_EncryptUpdate,
    EVP_MAC_fetch, EVP_MAC_CTX_new, EVP_MAC_init, EVP_MAC_update, EVP_MAC_final,
  } = functions

  // One of each for the thread; keys are set anew for every message, so that contexts know no repository.
  const compression = ZSTD_createCCtx()
  const decompression = ZSTD_createDCtx()
  const counterMode = EVP_CIPHER_CTX_new()
  const singleBlock = EVP_CIPHER_CTX_new()
  const poly1305 = EVP_MAC_fetch(null, Buffer.from('POLY1305\0'), null)
  const hasCiphers =
    compression !== 0n && decompression !== 0n && counterMode !== 0n && singleBlock !== 0n && poly1305 !== 0n &&
    EVP_EncryptInit_ex(counterMode, EVP_aes_256_ctr(), null, null, null) === 1 &&
    EVP_EncryptInit_ex(singleBlock, EVP_aes_128_ecb(), null, null, null) === 1 &&
    EVP_CIPHER_CTX_set_padding(singleBlock, 0) === 1
  if (!hasCiphers) return undefined
  const authentication = EVP_MAC_CTX_new(poly1305)
  if (authentication === 0n) return undefined

  const written = new Int32Array(2)
  const tagWritten = new BigUint64Array(1)

  function writeHash(data: Uint8Array, hash: Uint8Array): void {
    assert(hash.length >= 32)
    SHA256(data, BigInt(data.length), hash)
  }

  return {
    createCrypt(key) {
      assert(key.length === 32)
      const ownKey = key.slice()
      return (iv, source, target) => {
        assert(iv.length === 16 && target.length >= source.length)
        assert(EVP_EncryptInit_ex(counterMode, null, null, ownKey, iv) === 1)
        for (let at = 0; at < source.length; at += CIPHER_BYTES_MAX) {
          const piece = source.subarray(at, at + CIPHER_BYTES_MAX)
          assert(EVP_EncryptUpdate(counterMode, target.subarray(at), written, piece, piece.length) === 1)
        }
      }
    },

    createWriteTag(macK, macR) {
      assert(macK.length === 16 && macR.length === 16)
      const ownKey = macK.slice()
      const oneTimeKey = new Uint8Array(32)
      oneTimeKey.set(macR)
      // OpenSSL may write a whole block beyond what it was given.
      const block = new Uint8Array(32)
      return (iv, message, tag) => {
        assert(iv.length === 16 && tag.length === 16)
        assert(EVP_EncryptInit_ex(singleBlock, null, null, ownKey, null) === 1)
        assert(EVP_EncryptUpdate(singleBlock, block, written, iv, iv.length) === 1 && written[0] === 16)
        oneTimeKey.set(block.subarray(0, 16), 16)
        assert(EVP_MAC_init(authentication, oneTimeKey, 32n, null) === 1)
        assert(message.length === 0 || EVP_MAC_update(authentication, message, BigInt(message.length)) === 1)
        assert(EVP_MAC_final(authentication, tag, tagWritten, TAG_BYTES) === 1 && tagWritten[0] === TAG_BYTES)
      }
    },

    writeHash,
    createHashLanes: loadHashLanes(ffi) ?? (() => createPlainHashLanes(writeHash)),

    compress(plaintext, level, frame) {
      const length = ZSTD_compressCCtx(compression, frame, BigInt(frame.length), plaintext, BigInt(plaintext.length), level)
      assert(ZSTD_isError(length) === 0)
      return Number(length)
    },

    decompress(frame, plaintext) {
      const length = ZSTD_decompressDCtx(decompression, plaintext, BigInt(plaintext.length), frame, BigInt(frame.length))
      return ZSTD_isError(length) === 0 && Number(length) === plaintext.length
    },
  }
}
