// Prisma's schema engine, the one of `prisma db pull`, over a driver adapter of ours: its adapter
// for pg does not know the type "char", in which catalogs keep their kinds.
// Invariant: the engine's own statements go to the server as they are.
import { bindMigrationAwareSqlAdapterFactory, ColumnTypeEnum } from '@prisma/driver-adapter-utils';
import { SchemaEngine } from '@prisma/schema-engine-wasm';
import pg from 'pg';

const SCHEMA = `datasource db {
  provider = "postgresql"
}
generator client {
  provider        = "prisma-client"
  previewFeatures = ["views"]
}
`;

type ColumnType = (typeof ColumnTypeEnum)[keyof typeof ColumnTypeEnum];

/** By the type's OID; what is not here is text. */
const TYPES: { readonly [oid: number]: ColumnType } = {
  16: ColumnTypeEnum.Boolean,
  18: ColumnTypeEnum.Character,
  20: ColumnTypeEnum.Int64,
  21: ColumnTypeEnum.Int32,
  23: ColumnTypeEnum.Int32,
  26: ColumnTypeEnum.Int64,
  1002: ColumnTypeEnum.CharacterArray,
  1003: ColumnTypeEnum.TextArray,
  1005: ColumnTypeEnum.Int32Array,
  1007: ColumnTypeEnum.Int32Array,
  1009: ColumnTypeEnum.TextArray,
};

const AS_TEXT = /^(16|21|23|1002|1003|1005|1007|1009)$/;

interface Query {
  readonly sql: string;
  readonly args: readonly unknown[];
}

function adapter(client: pg.Client) {
  const ask = (query: Query) =>
    client.query({
      text: query.sql,
      values: [...query.args],
      rowMode: 'array',
      types: {
        getTypeParser: (oid: number) =>
          AS_TEXT.test(String(oid))
            ? pg.types.getTypeParser(oid, 'text')
            : (value: string) => value,
      },
    } as unknown as pg.QueryArrayConfig);
  return {
    provider: 'postgres' as const,
    adapterName: 'test',
    queryRaw: async (query: Query) => {
      const { fields, rows } = await ask(query);
      return {
        columnNames: fields.map((field) => field.name),
        columnTypes: fields.map((field) => TYPES[field.dataTypeID] ?? ColumnTypeEnum.Text),
        rows,
      };
    },
    executeRaw: async (query: Query) => (await ask(query)).rowCount ?? 0,
    executeScript: async (text: string) => void (await client.query(text)),
    startTransaction: () => Promise.reject(new Error('nothing here needs one')),
    getConnectionInfo: () => ({ schemaName: 'public', supportsRelationJoins: true }),
    dispose: () => Promise.resolve(),
  };
}

/** What `prisma db pull` would write. */
export async function pulled(url: string): Promise<unknown> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const one = adapter(client);
    const factory = bindMigrationAwareSqlAdapterFactory({
      provider: 'postgres',
      adapterName: 'test',
      connect: () => Promise.resolve(one),
      connectToShadowDb: () => Promise.reject(new Error('no shadow database')),
    });
    const files = [{ path: 'schema.prisma', content: SCHEMA }];
    const datamodels: [string, string][] = [['schema.prisma', SCHEMA]];
    const engine = await SchemaEngine.new({ datamodels }, () => undefined, factory);
    const introspected = await engine.introspect({
      schema: { files },
      baseDirectoryPath: '/nowhere',
      force: true,
      compositeTypeDepth: -1,
      namespaces: null,
    });
    engine.free();
    return introspected;
  } finally {
    await client.end();
  }
}
