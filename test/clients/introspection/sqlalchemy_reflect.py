# SQLAlchemy looking at a database: reflection of everything its inspector knows, and automap.
# Prints what it saw as JSON, in a steady order. Argument: a connection URL.
import json
import sys

from sqlalchemy import MetaData, create_engine, inspect
from sqlalchemy.ext.automap import automap_base
from sqlalchemy.pool import NullPool

engine = create_engine(sys.argv[1].replace("postgres://", "postgresql://"), poolclass=NullPool)
seen = {}
inspector = inspect(engine)
for schema in sorted(inspector.get_schema_names()):
    if schema in ("information_schema", "pg_catalog"):
        continue
    found = {
        "tables": sorted(inspector.get_table_names(schema)),
        "views": sorted(inspector.get_view_names(schema)),
        "sequences": sorted(inspector.get_sequence_names(schema)),
        "enums": inspector.get_enums(schema),
        "foreign": inspector.get_foreign_table_names(schema),
        "definitions": {v: inspector.get_view_definition(v, schema) for v in inspector.get_view_names(schema)},
    }
    for table in found["tables"] + found["views"]:
        found[table] = {
            "columns": [{k: str(v) for k, v in c.items()} for c in inspector.get_columns(table, schema)],
            "key": inspector.get_pk_constraint(table, schema),
            "keys": inspector.get_foreign_keys(table, schema),
            "indexes": inspector.get_indexes(table, schema),
            "unique": inspector.get_unique_constraints(table, schema),
            "checks": inspector.get_check_constraints(table, schema),
            "comment": inspector.get_table_comment(table, schema),
            "oid": str(inspector.get_table_oid(table, schema)),
        }
    seen[schema] = found

metadata = MetaData()
for schema in (None, "sales"):
    metadata.reflect(engine, schema=schema, views=True)
seen["reflected"] = {name: [str(c) for c in table.columns] for name, table in metadata.tables.items()}
base = automap_base(metadata=metadata)
base.prepare()
seen["classes"] = sorted(base.classes.keys())
with engine.connect() as connection:
    table = metadata.tables["customers"]
    seen["rows"] = [str(row) for row in connection.execute(table.select().order_by(table.c.id))]
print(json.dumps(seen, sort_keys=True, default=str))
