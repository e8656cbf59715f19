/** The switches of the deployment, from what it is: one region, in one place. */
import type { ServerConfig } from '../config.ts'
import { Failure } from '../failures.ts'

export type FeatureValue = boolean | string | readonly string[]

/** By the keys that the cloud's clients know; one whose meaning nobody tells is left out. */
export function featuresOf({ region }: Pick<ServerConfig, 'region'>): Readonly<Record<string, FeatureValue>> {
  return {
    'features.backup_double_az': false,
    'replication.destination_dgw_regions': [],
    'replication.destination_regions': [],
    'replication.enable': false,
    'replication.source_region': region,
  }
}

export function listFeatures(
  config: Pick<ServerConfig, 'region'>, { limit = 1000, offset = 0 }: { readonly limit?: number, readonly offset?: number },
): Record<string, FeatureValue> {
  return Object.fromEntries(Object.entries(featuresOf(config)).slice(offset, offset + limit))
}

export function showFeature(config: Pick<ServerConfig, 'region'>, key: string): Record<string, FeatureValue> {
  const features = featuresOf(config)
  const value = Object.hasOwn(features, key) ? features[key] : undefined
  if (value === undefined) throw new Failure('parameter.invalid', { field: 'feature_key', reason: `there is no feature ${key}` })
  return { [key]: value }
}
