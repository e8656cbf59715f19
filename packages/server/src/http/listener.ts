/**
 * The servers below the API: plain HTTP or TLS, with limits on how much a client may send before it is known who it
 * is, and on how long it may take. Node looks for late clients every now and then, so one is cut off at most a
 * quarter of the limit too late.
 */
import http from 'node:http'
import https from 'node:https'
import { createSecureContext } from 'node:tls'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { ServerConfig } from '../config.ts'
import { StartRefusal } from '../data-directory.ts'

const REQUEST_SECONDS = 60
/** Of the time for a whole request; headers are small. */
const HEADERS_SECONDS_MAX = 20
const HEADER_BYTES_MAX = 16 * 1024
const LOOK_AT_FILES_MS = 5000

export interface Listener {
  /** For the framework, which makes one server for each address that a host name has. */
  readonly makeServer: (handler: http.RequestListener) => http.Server
  readonly scheme: 'http' | 'https'
  /** Takes a certificate that lies in the files by now, if it is another one and goes with its key. Says what it did. */
  readonly reload: () => 'same' | 'taken' | 'refused'
  readonly close: () => void
}

/** Throws a `StartRefusal` when the certificate cannot be used. */
export function openListener(config: Pick<ServerConfig, 'tls' | 'requestSeconds'>, tell: (text: string) => void): Listener {
  const requestTimeout = Math.ceil((config.requestSeconds ?? REQUEST_SECONDS) * 1000)
  const limits = {
    requestTimeout,
    headersTimeout: Math.min(requestTimeout, HEADERS_SECONDS_MAX * 1000),
    connectionsCheckingInterval: Math.min(5000, Math.ceil(requestTimeout / 4)),
    maxHeaderSize: HEADER_BYTES_MAX,
    // More than proxies keep a connection for, so that they do not send a call into one that is being closed.
    keepAliveTimeout: 75_000,
  }
  const { tls } = config
  if (tls === undefined) {
    return { makeServer: (handler) => http.createServer(limits, handler), scheme: 'http', reload: () => 'same', close: () => {} }
  }
  let pair: Pair
  try {
    pair = readPair(tls)
  } catch (error) {
    throw new StartRefusal(`The certificate ${tls.certFile} with the key ${tls.keyFile} cannot be used: ${(error as Error).message}`, { cause: error })
  }
  const servers: https.Server[] = []
  let refused: string | undefined

  function reload(): 'same' | 'taken' | 'refused' {
    try {
      const found = readPair(tls as TlsFiles)
      refused = undefined
      if (found.cert.equals(pair.cert) && found.key.equals(pair.key)) return 'same'
      pair = found
      // For connections to come; those that there are go on as they are.
      for (const server of servers) server.setSecureContext(pair)
      tell('The new certificate is in use.')
      return 'taken'
    } catch (error) {
      const reason = (error as Error).message
      // Said once: it may be that one of the two files has been written and the other has not.
      if (reason !== refused) tell(`The certificate has changed and cannot be used, so the one from before stays in use: ${reason}`)
      refused = reason
      return 'refused'
    }
  }
  const timer = setInterval(reload, LOOK_AT_FILES_MS).unref()
  return {
    makeServer(handler) {
      const server = https.createServer({ ...limits, ...pair, minVersion: 'TLSv1.2', handshakeTimeout: limits.headersTimeout }, handler)
      servers.push(server)
      // The framework asks for either kind, and uses what they have in common.
      return server as unknown as http.Server
    },
    scheme: 'https',
    reload,
    close: () => clearInterval(timer),
  }
}

type TlsFiles = NonNullable<ServerConfig['tls']>

interface Pair {
  readonly cert: Buffer
  readonly key: Buffer
}

function readPair({ certFile, keyFile }: TlsFiles): Pair {
  const pair = { cert: readFileSync(certFile), key: readFileSync(keyFile) }
  if (!new X509Certificate(pair.cert).checkPrivateKey(createPrivateKey(pair.key))) throw new Error('the key is not the one of the certificate')
  createSecureContext(pair)
  return pair
}
