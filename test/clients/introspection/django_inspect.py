# Django looking at a database: inspectdb, the plan of migrations, the SQL it would send, and a
# query of a model. Arguments: host, port, user, password, database.
import sys

import django
from django.conf import settings
from django.core.management import call_command

host, port, user, password, database = sys.argv[1:]
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": host,
            "PORT": port,
            "USER": user,
            "PASSWORD": password,
            "NAME": database,
        }
    },
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.db import connection, models  # noqa: E402

call_command("check", databases=["default"])
call_command("inspectdb", include_views=True, include_partitions=True)
call_command("showmigrations", plan=True)
call_command("migrate", plan=True)
call_command("sqlmigrate", "auth", "0001")


class Customer(models.Model):
    email = models.CharField(max_length=200)
    name = models.TextField()

    class Meta:
        app_label = "shop"
        managed = False
        db_table = "customers"


print(list(Customer.objects.filter(name__startswith="a").values_list("email", flat=True)))
print(Customer.objects.count(), Customer.objects.exists())
print(sorted(connection.introspection.django_table_names(only_existing=True)), User._meta.db_table)
with connection.cursor() as cursor:
    for table in sorted(t.name for t in connection.introspection.get_table_list(cursor)):
        print(table, connection.introspection.get_constraints(cursor, table))
        print(connection.introspection.get_sequences(cursor, table))
