/** The part of Keystone's (and IAM's) identity API that clients of CBR use. */
import { Type } from 'typebox'

const DomainReference = Type.Object({
  id: Type.Optional(Type.String()),
  name: Type.Optional(Type.String()),
}, { description: 'A domain by id or by name.' })

const PasswordUser = Type.Object({
  id: Type.Optional(Type.String()),
  name: Type.Optional(Type.String()),
  domain: Type.Optional(DomainReference),
  password: Type.String(),
})

export const TokenRequest = Type.Object({
  auth: Type.Object({
    identity: Type.Object({
      methods: Type.Array(Type.String(), { minItems: 1, maxItems: 8 }),
      password: Type.Optional(Type.Object({ user: PasswordUser })),
      token: Type.Optional(Type.Object({ id: Type.String() })),
    }),
    scope: Type.Optional(Type.Union([
      Type.Object({
        project: Type.Optional(Type.Object({
          id: Type.Optional(Type.String()),
          name: Type.Optional(Type.String()),
          domain: Type.Optional(DomainReference),
        })),
        domain: Type.Optional(DomainReference),
      }),
      Type.Literal('unscoped'),
    ])),
  }),
})

const NamedDomain = Type.Object({ id: Type.String(), name: Type.String() })

const Endpoint = Type.Object({
  id: Type.String(),
  interface: Type.Literal('public'),
  region: Type.String(),
  region_id: Type.String(),
  url: Type.String(),
})

const Catalog = Type.Array(Type.Object({
  id: Type.String(),
  type: Type.String(),
  name: Type.String(),
  endpoints: Type.Array(Endpoint),
}))

export const TokenResponse = Type.Object({
  token: Type.Object({
    methods: Type.Array(Type.String()),
    issued_at: Type.String(),
    expires_at: Type.String(),
    user: Type.Object({ id: Type.String(), name: Type.String(), domain: NamedDomain, password_expires_at: Type.Null() }),
    roles: Type.Array(Type.Object({ id: Type.String(), name: Type.String() })),
    project: Type.Optional(Type.Object({ id: Type.String(), name: Type.String(), domain: NamedDomain })),
    domain: Type.Optional(NamedDomain),
    catalog: Type.Optional(Catalog),
  }),
})

const Links = Type.Object({ self: Type.String(), previous: Type.Null(), next: Type.Null() })
const SelfLink = Type.Object({ self: Type.String() })

export const CatalogResponse = Type.Object({ catalog: Catalog, links: Links })

export const ProjectListResponse = Type.Object({
  projects: Type.Array(Type.Object({
    id: Type.String(),
    name: Type.String(),
    domain_id: Type.String(),
    parent_id: Type.String(),
    is_domain: Type.Literal(false),
    enabled: Type.Literal(true),
    description: Type.String(),
    links: SelfLink,
  })),
  links: Links,
})

export const DomainListResponse = Type.Object({
  domains: Type.Array(Type.Object({
    id: Type.String(),
    name: Type.String(),
    enabled: Type.Literal(true),
    description: Type.String(),
    links: SelfLink,
  })),
  links: Links,
})

export const UserListResponse = Type.Object({
  users: Type.Array(Type.Object({
    id: Type.String(),
    name: Type.String(),
    domain_id: Type.String(),
    enabled: Type.Literal(true),
    password_expires_at: Type.Null(),
    links: SelfLink,
  })),
  links: Links,
})

/** Keystone's form of an error. */
export const IdentityError = Type.Object({
  error: Type.Object({ code: Type.Integer(), message: Type.String(), title: Type.String() }),
})

const ApiVersion = Type.Object({
  id: Type.Literal('v3'),
  status: Type.Literal('CURRENT'),
  links: Type.Array(Type.Object({ href: Type.String(), rel: Type.Literal('self') })),
})

export const ApiVersions = Type.Object({ versions: Type.Array(ApiVersion) })
/** The root of one version; discovery reads either member, so both are there. */
export const ApiVersionRoot = Type.Object({ version: ApiVersion, versions: Type.Array(ApiVersion) })
